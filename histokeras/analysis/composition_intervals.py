"""Intervals of a composition: bootstrap of blocks of tiles, and Wilson's."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from histokeras.analysis.bootstrap import draw_counts
from histokeras.analysis.metrics import Floats
from histokeras.files import sha256_text

_CELLS_AT_ONCE = 4_000_000
_LEAST_DEFINED = 0.95
"""A figure that fewer resamples than this share hold has no interval."""


@dataclass(frozen=True)
class Draw:
    """Which resamples are drawn.

    Attributes:
        n_resamples: How many, ``R``.
        seed: Their seed.
        name: Of the slide or patient: each has a stream of its own, whoever else is there.
    """

    n_resamples: int
    seed: int
    name: str

    def generator(self) -> np.random.Generator:
        """Return where the draws come from."""
        return np.random.default_rng([self.seed, int(sha256_text(self.name)[:16], 16)])


def block_draws(slides: Sequence[Floats], draw: Draw) -> Iterator[Floats]:
    """Draw the blocks of each slide with replacement, as many as it has, and sum them.

    Args:
        slides: Sums over the blocks of each slide, shape ``(n_blocks, 2, K)``.
        draw: How many resamples, and which.

    Yields:
        The sums of every resample of a slide, shape ``(R, 2, K)``, slide by slide.
    """
    rng = draw.generator()
    for blocks in slides:
        n, flat = len(blocks), blocks.reshape(len(blocks), -1)
        sums = np.empty((draw.n_resamples, flat.shape[1]))
        step = max(1, _CELLS_AT_ONCE // n)
        for start in range(0, draw.n_resamples, step):
            rows = min(step, draw.n_resamples - start)
            sums[start : start + rows] = draw_counts(rng, rows, n) @ flat
        yield sums.reshape(draw.n_resamples, *blocks.shape[1:])


def percentile_interval(values: Floats, *, alpha: float) -> tuple[Floats, Floats]:
    """Return the percentile interval of each figure over the resamples that hold it.

    Args:
        values: Shape ``(R, n_figures)``; NaN where a resample does not hold a figure.
        alpha: Share of the resamples outside.

    Returns:
        Lower and upper ends, shape ``(n_figures,)`` each: values that occurred, the next outward.
        NaN for a figure that fewer than 95 % of the resamples hold.
    """
    # NaN comes last.
    ordered = np.sort(values, axis=0)
    held = np.isfinite(values).sum(axis=0) + np.isposinf(values).sum(axis=0)
    last = np.maximum(held - 1, 0)
    columns = np.arange(values.shape[1])
    low = ordered[np.floor(alpha / 2 * last).astype(np.int64), columns]
    high = ordered[np.ceil((1 - alpha / 2) * last).astype(np.int64), columns]
    enough = held >= _LEAST_DEFINED * len(values)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def wilson_interval(count: float, n: float, *, alpha: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share, as of ``n`` independent tiles.

    Args:
        count: Tiles that have it, 0..n.
        n: Tiles in all; 0 gives NaN.
        alpha: One less the coverage.
    """
    if n <= 0:
        return math.nan, math.nan
    z = NormalDist().inv_cdf(1 - alpha / 2)
    share = count / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Rounding must not put the ends of 0 and 1 beside them.
    return 0.0 if count == 0 else middle - half, 1.0 if count == n else middle + half
