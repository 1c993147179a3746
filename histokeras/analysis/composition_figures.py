"""Figures of a composition, of one slide or patient: shares, what follows from them, intervals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.analysis.aggregate import N_TILES, SHARE
from histokeras.analysis.composition_correct import Correction
from histokeras.analysis.composition_intervals import (
    Draw,
    block_draws,
    percentile_interval,
    wilson_interval,
)
from histokeras.analysis.metrics import AnyFloats, Floats, predicted_classes
from histokeras.errors import ConfigError
from histokeras.tissue import tissue_of

SOFT, CORRECTED = "soft_", "corrected_"
"""Prefixes of the columns with mean probabilities, and with shares corrected by a run's errors."""
TSR, LYM_TUM, DEBRIS, ENTROPY = "tumour_stroma_ratio", "lym_tum_ratio", "deb_share", "entropy"
N_EXCLUDED, N_BLOCKS = "n_excluded", "n_blocks"
LOW, HIGH = "_low", "_high"
BLOCKS, WILSON, NONE = "blocks", "wilson", "none"
TILES, SLIDES = "tiles", "slides"
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class CompositionConfig:
    """How a composition is computed.

    Attributes:
        pool: ``tiles``: a patient is the pool of all tiles, so that a slide counts by its area;
            ``slides``: the mean of the patient's slides.
        interval: ``blocks`` (bootstrap of squares of neighbouring tiles; of pooled tiles never
            narrower than Wilson's), ``wilson`` (tiles taken as independent; shares of tiles only)
            or ``none``.
        min_tiles: Slides and patients of fewer tiles get no figures, at least 1.
        exclude: Classes that are left out; the others then make up 1.
        block_tiles: Side of these squares in tiles, at least 1. Intervals are too narrow where
            regions of one tissue are wider.
        n_resamples: Resamples behind each interval of ``blocks``.
        seed: Seed of the resamples.
    """

    pool: str = TILES
    interval: str = BLOCKS
    min_tiles: int = 50
    exclude: tuple[str, ...] = ()
    block_tiles: int = 8
    n_resamples: int = 2000
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return what decides the figures."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class SlideCounts:
    """What is kept of a slide's tiles: sums over blocks of tiles.

    Attributes:
        slide_id: Its id; "" where it is unknown.
        patient_id: Its patient; "" where unknown.
        split: Side of the run's split that it was on; "" for none.
        sums: float64, shape ``(n_blocks, 2, K)``: tiles that each class comes first in, and sums of
            probabilities.
        pooled: Whether it counts for its patient: normal tissue does not.
    """

    slide_id: str
    patient_id: str
    split: str
    sums: Floats
    pooled: bool = True


def count_tiles(
    probs: AnyFloats, places: npt.NDArray[np.int64] | None, block_tiles: int = 8
) -> Floats:
    """Sum tiles over the blocks that they lie in.

    Args:
        probs: Probabilities, shape ``(n, K)``, in 0..1.
        places: Column and row of each tile on the slide's grid, shape ``(n, 2)``; None puts all
            tiles into one block.
        block_tiles: Side of a block in tiles.

    Returns:
        float64, shape ``(n_blocks, 2, K)``: tiles that each class comes first in (the first class
        where several are equal), and sums of probabilities.
    """
    n, k = probs.shape
    sums = np.zeros((1, 2, k))
    block = np.zeros(n, np.int64)
    if places is not None and n:
        _, block = np.unique(places // block_tiles, axis=0, return_inverse=True)
        block = block.reshape(-1)
        sums = np.zeros((int(block.max()) + 1, 2, k))
    np.add.at(sums[:, 0], (block, predicted_classes(probs)), 1.0)
    for column in range(k):
        sums[:, 1, column] = np.bincount(block, probs[:, column], minlength=len(sums))
    return sums


def derived_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Return which figures beside the shares the classes allow."""
    at = {tissue_of(name) for name in classes}
    found = [TSR] if {"STR", "TUM"} <= at else []
    found += [LYM_TUM] if {"LYM", "TUM"} <= at else []
    found += [DEBRIS] if "DEB" in at else []
    return (*found, ENTROPY)


def derived_figures(shares: Floats, classes: Sequence[str]) -> Floats:
    """Compute the figures of :func:`derived_names` from shares.

    Args:
        shares: Shape ``(..., K)``, each row summing to 1, or NaN.
        classes: The ``K`` classes.

    Returns:
        Shape ``(..., n_figures)``: ``STR / (STR + TUM)``, ``LYM / TUM``, the share of debris, and
        Shannon's entropy over all classes in nats. A ratio 0 / 0 is NaN, another by 0 infinite.
    """
    of = {tissue_of(name): shares[..., i] for i, name in enumerate(classes)}
    made: dict[str, Floats] = {}
    derived = derived_names(classes)
    with np.errstate(divide="ignore", invalid="ignore"):
        if TSR in derived:
            made[TSR] = of["STR"] / (of["STR"] + of["TUM"])
        if LYM_TUM in derived:
            made[LYM_TUM] = of["LYM"] / of["TUM"]
    if DEBRIS in derived:
        made[DEBRIS] = of["DEB"]
    logs = np.log(np.where(shares > 0, shares, 1.0))
    # From 0, so that a single class has 0 and not -0.
    made[ENTROPY] = 0.0 - (shares * logs).sum(axis=-1)
    return np.stack([made[name] for name in derived], axis=-1)


class Composer:
    """Turns sums over blocks into figures with intervals.

    Args:
        classes: The ``K`` classes of the predictions.
        config: How.
        correction: Of shares, by the errors of a run; None for none.

    Raises:
        ConfigError: If no class is left, an excluded one is unknown, or the options exclude each
            other.
    """

    def __init__(
        self, classes: Sequence[str], config: CompositionConfig, correction: Correction | None
    ) -> None:
        require_possible(classes, config)
        self.config, self._correction = config, correction
        # The same for all: what the classifier confuses, it confuses everywhere.
        self._drawn = None
        if correction is not None and config.interval == BLOCKS:
            self._drawn = correction.drawn(config.n_resamples, config.seed)
        self._kept = np.array([name not in config.exclude for name in classes])
        self.classes = tuple(name for name in classes if name not in config.exclude)
        self._kinds = (SHARE, SOFT, CORRECTED) if correction else (SHARE, SOFT)
        derived = derived_names(self.classes)
        self.figures = tuple(
            name
            for kind in self._kinds
            for name in (
                *(f"{kind}{label}" for label in self.classes),
                *(f"{kind.removeprefix(SHARE)}{figure}" for figure in derived),
            )
        )

    def shares(self, sums: Floats, *, resampled: bool = False) -> Floats:
        """Return shares of the kept classes, ``(..., n_kinds, K')``, of sums ``(..., 2, K)``.

        Args:
            sums: The sums.
            resampled: Whether the first axis counts resamples: each is then corrected by a
                confusion matrix of its own.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = sums / sums.sum(axis=-1, keepdims=True)
            if self._correction is not None:
                more = self._correction.apply(shares[..., 0, :], self._drawn if resampled else None)
                shares = np.concatenate([shares, more[..., np.newaxis, :]], axis=-2)
            shares = shares[..., self._kept]
            whole = shares.sum(axis=-1, keepdims=True)
            return np.asarray(np.where(whole > 0, shares / whole, np.nan))

    def values(self, shares: Floats) -> Floats:
        """Return the figures of shares ``(..., n_kinds, K')`` in their order, ``(..., n)``."""
        every = np.concatenate([shares, derived_figures(shares, self.classes)], axis=-1)
        return every.reshape(*every.shape[:-2], -1)

    def counts(self, sums: Floats) -> dict[str, int]:
        """Return how many tiles count, how many do not, and in how many blocks they lie."""
        tiles = sums[:, 0].sum(axis=0)
        found = {N_TILES: int(tiles[self._kept].sum())}
        if self.config.exclude:
            found[N_EXCLUDED] = int(tiles[~self._kept].sum())
        if self.config.interval == BLOCKS:
            found[N_BLOCKS] = len(sums)
        return found

    def row(self, slides: Sequence[SlideCounts], *, mean_of_slides: bool = False) -> dict[str, Any]:
        """Return counts and figures of one slide or patient.

        Args:
            slides: Its slides, at least one.
            mean_of_slides: Take the mean of their shares instead of the pool of their tiles; slides
                of too few tiles are left out.
        """
        each = [self.counts(slide.sums) for slide in slides]
        counts = {name: sum(one[name] for one in each) for name in each[0]}
        least = self.config.min_tiles
        used = [
            slide.sums
            for slide, one in zip(slides, each, strict=True)
            if one[N_TILES] >= least or not mean_of_slides
        ]
        if counts[N_TILES] < least or not used:
            return {**counts, **self._columns(np.full((3, len(self.figures)), np.nan))}
        point = self._point(used, mean_of_slides)
        low, high = self._interval(slides, used, mean_of_slides)
        return {**counts, **self._columns(np.stack([point, low, high]))}

    def _point(self, used: Sequence[Floats], mean_of_slides: bool) -> Floats:
        whole = [sums.sum(axis=0) for sums in used]
        if mean_of_slides:
            return self.values(np.mean([self.shares(sums) for sums in whole], axis=0))
        return self.values(self.shares(np.sum(whole, axis=0)))

    def _interval(
        self, slides: Sequence[SlideCounts], used: Sequence[Floats], mean_of_slides: bool
    ) -> tuple[Floats, Floats]:
        missing = np.full(len(self.figures), np.nan)
        if self.config.interval == WILSON:
            return self._wilson(np.sum([sums.sum(axis=0) for sums in used], axis=0))
        if self.config.interval == NONE or sum(map(len, used)) < 2:
            return missing, missing
        name = "\n".join(sorted(slide.slide_id for slide in slides))
        draw = Draw(self.config.n_resamples, self.config.seed, name)
        if mean_of_slides:
            drawn = [self.shares(sums, resampled=True) for sums in block_draws(used, draw)]
            return percentile_interval(self.values(np.mean(drawn, axis=0)), alpha=ALPHA)
        total: Any = 0.0
        for sums in block_draws(used, draw):
            total = total + sums
        values = self.values(self.shares(total, resampled=True))
        low, high = percentile_interval(values, alpha=ALPHA)
        # No resample holds a class that no tile has: a certain 0 would be claimed of it.
        least, most = self._wilson(np.sum([sums.sum(axis=0) for sums in used], axis=0))
        wider = np.isfinite(low) & np.isfinite(least), np.isfinite(high) & np.isfinite(most)
        return (
            np.where(wider[0], np.minimum(low, least), low),
            np.where(wider[1], np.maximum(high, most), high),
        )

    def _wilson(self, sums: Floats) -> tuple[Floats, Floats]:
        ends = np.full((2, len(self.figures)), np.nan)
        for name, (count, whole) in self._counted(sums[0][self._kept]).items():
            ends[:, self.figures.index(name)] = wilson_interval(count, whole, alpha=ALPHA)
        if LYM_TUM in self.figures:
            column = self.figures.index(LYM_TUM)
            # LYM / TUM is p / (1 - p) of LYM among both, and rises with it.
            with np.errstate(divide="ignore"):
                ends[:, column] = ends[:, column] / (1 - ends[:, column])
        return ends[0], ends[1]

    def _counted(self, tiles: Floats) -> dict[str, tuple[float, float]]:
        """Return of what counts tiles, not of means nor of entropy: how many, of how many.

        Args:
            tiles: Tiles that each kept class comes first in, shape ``(K',)``.
        """
        n = dict(zip(map(tissue_of, self.classes), tiles.tolist(), strict=True))
        whole = float(tiles.sum())
        found = {f"{SHARE}{name}": (float(tiles[i]), whole) for i, name in enumerate(self.classes)}
        derived = derived_names(self.classes)
        if TSR in derived:
            found[TSR] = (n["STR"], n["STR"] + n["TUM"])
        if LYM_TUM in derived:
            found[LYM_TUM] = (n["LYM"], n["LYM"] + n["TUM"])
        if DEBRIS in derived:
            found[DEBRIS] = (n["DEB"], whole)
        return found

    def _columns(self, values: Floats) -> dict[str, float]:
        """Return figures, or figures with both ends, ``(3, n)``; what is not finite is NaN."""
        values = np.where(np.isfinite(values), values, np.nan)
        has_ends = set(self.figures if self.config.interval == BLOCKS else ())
        if self.config.interval == WILSON:
            has_ends = set(self._counted(np.zeros(len(self.classes))))
        return {
            f"{name}{end}": float(values[i, column])
            for column, name in enumerate(self.figures)
            for i, end in enumerate(("", LOW, HIGH) if name in has_ends else ("",))
        }


def require_possible(classes: Sequence[str], config: CompositionConfig) -> None:
    """Refuse options that cannot be, before any table is read.

    Raises:
        ConfigError: If no class is left, an excluded one is unknown, or the options exclude each
            other.
    """
    unknown = [name for name in config.exclude if name not in classes]
    if unknown:
        raise ConfigError(
            f"`exclude` names {', '.join(unknown)}, which is no class of these predictions.",
            hint=f"They have {', '.join(classes)}.",
        )
    if len(set(config.exclude)) == len(classes):
        raise ConfigError("`exclude` leaves no class.", hint="Keep one at least.")
    if config.interval == WILSON and config.pool == SLIDES:
        raise ConfigError(
            "a Wilson interval counts tiles: it cannot be had of a mean of slides.",
            hint="Leave out `--pool slides`, or take `--interval blocks`.",
        )
    for name in ("min_tiles", "block_tiles", "n_resamples"):
        value = getattr(config, name)
        if value < 1:
            raise ConfigError(f"`{name}` must be at least 1. Received: {name}={value}")
