"""Correct shares of tiles for what a classifier confuses, by its confusion matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from histokeras.analysis.metrics import Floats
from histokeras.errors import ConfigError, FeatureError, TableError
from histokeras.runs.record import read_object

MOST_CONDITION = 50.0
"""A matrix of a larger condition number would multiply the noise of shares beyond use."""
_SIDES = ("val", "test")


@dataclass(frozen=True, eq=False)
class Correction:
    """A confusion matrix and its inverse.

    Attributes:
        counts: Tiles, shape ``(K, K)``, float64: rows the truth, columns the prediction.
        inverse: Shape ``(K, K)``, float64: of the matrix with rows that sum to 1.
        condition: Its condition number.
        side: Side of the split that the tiles were on: val, test or all.
    """

    counts: Floats
    inverse: Floats
    condition: float
    side: str = ""

    @property
    def n_tiles(self) -> int:
        """Tiles behind the matrix."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """Share of these tiles that were right, 0..1."""
        return float(np.trace(self.counts) / self.counts.sum())

    def apply(self, shares: Floats, inverses: Floats | None = None) -> Floats:
        """Return corrected shares: ``(C^T)^-1 q``, what is below 0 set to 0, scaled to sum to 1.

        Args:
            shares: Shares of tiles by their predicted class, shape ``(..., K)``.
            inverses: Of :meth:`drawn`, one for each of the shares, ``(R, K)`` then; None for the
                matrix itself.
        """
        by = self.inverse if inverses is None else inverses
        found = np.clip(np.matmul(shares[..., np.newaxis, :], by)[..., 0, :], 0.0, None)
        return np.asarray(found / found.sum(axis=-1, keepdims=True))

    def drawn(self, n_resamples: int, seed: int) -> Floats:
        """Return inverses of matrices whose tiles were drawn anew, each class as often as it was.

        Args:
            n_resamples: How many, ``R``.
            seed: Of the draws.

        Returns:
            Shape ``(R, K, K)``; NaN where a matrix cannot be inverted with profit.
        """
        rng = np.random.default_rng([seed, n_resamples])
        truth = self.counts.sum(axis=1)
        rows = zip(truth.astype(np.int64), self.counts / truth[:, np.newaxis], strict=True)
        drawn = np.stack([rng.multinomial(n, rates, n_resamples) / n for n, rates in rows], axis=1)
        usable = np.linalg.cond(drawn) <= MOST_CONDITION
        inverses = np.full(drawn.shape, np.nan)
        inverses[usable] = np.linalg.inv(drawn[usable])
        return inverses

    def as_json(self) -> dict[str, Any]:
        """Return what metrics tell of it."""
        return {
            "side": self.side, "n_tiles": self.n_tiles,
            "accuracy": self.accuracy, "condition": self.condition,
        }  # fmt: skip


def correction_of(confusion: Floats, classes: Sequence[str], *, side: str = "") -> Correction:
    """Return the correction that a confusion matrix allows.

    Args:
        confusion: Counts of tiles, shape ``(K, K)``: rows the truth, columns the prediction.
        classes: The ``K`` classes.
        side: Where the tiles are from.

    Raises:
        TableError: If a class has no tile (CONFUSION_UNFIT), or the matrix cannot be inverted with
            profit.
    """
    truth = confusion.sum(axis=1)
    empty = [name for name, n in zip(classes, truth.tolist(), strict=True) if not n]
    if empty:
        raise TableError(
            f"no tile of {', '.join(empty)} stands in the confusion matrix: what it is taken for "
            "is unknown.",
            code="CONFUSION_UNFIT",
            hint="Correct with a run whose val or test side holds every class.",
        )
    rates = confusion / truth[:, np.newaxis]
    condition = float(np.linalg.cond(rates))
    if not condition <= MOST_CONDITION:
        raise TableError(
            f"the confusion matrix has condition number {condition:.3g}, above "
            f"{MOST_CONDITION:g}: it takes some classes for one another, and a correction would "
            "only multiply noise.",
            code="CONFUSION_UNFIT",
            hint="Leave out the correction, or train a better classifier.",
        )
    return Correction(confusion, np.linalg.inv(rates), condition, side)


def read_correction(folder: Path, classes: Sequence[str]) -> Correction:
    """Return the correction by a run's tiles: of its val side, else of its test side.

    Val comes first, since slides of test patients may be what is corrected.

    Args:
        folder: A run whose labels stand at tiles, or what ``evaluate -o`` wrote of such labels.
        classes: The classes of the predictions, in order.

    Raises:
        FeatureError: If there are no figures (RUN_MISSING).
        ConfigError: If it has other classes.
        TableError: If it has no confusion matrix of tiles, or one that cannot be used
            (CONFUSION_MISSING, CONFUSION_UNFIT).
    """
    metrics = read_object(folder / "metrics.json")
    if not metrics:
        raise FeatureError(
            f"{folder} holds no figures of a run.",
            code="RUN_MISSING",
            hint="Name a folder that `histokeras fit-head` or `finetune` wrote.",
        )
    names = [str(name) for name in metrics.get("classes") or []]
    found = _confusions(metrics)
    if not found:
        level = metrics.get("label_level") or "other things"
        raise TableError(
            f"{folder} has no confusion matrix of tiles: its labels are of {level}s.",
            code="CONFUSION_MISSING",
            hint="Correct with a run that was trained on labels of tiles.",
        )
    if sorted(names) != sorted(classes):
        raise ConfigError(
            f"{folder} has the classes {', '.join(names)}, the predictions {', '.join(classes)}.",
            code="CLASS_MISMATCH",
            hint="Correct with the run that made the predictions.",
        )
    side = next((name for name in _SIDES if name in found), next(iter(found)))
    order = [names.index(name) for name in classes]
    counts = np.array(found[side], np.float64)
    if counts.shape != (len(names), len(names)):
        raise FeatureError(
            f"{folder / 'metrics.json'} is damaged: its confusion matrix is not square.",
            code="RECORD_DAMAGED",
            hint="Make the run anew.",
        )
    return correction_of(counts[np.ix_(order, order)], classes, side=side)


def tile_accuracy(folder: Path) -> float | None:
    """Return the share of a run's test tiles that it gets right; None where nobody knows."""
    found = _confusions(read_object(folder / "metrics.json"))
    side = next((name for name in ("test", "all", "val") if name in found), None)
    if side is None:
        return None
    counts = np.array(found[side], np.float64)
    return float(np.trace(counts) / counts.sum()) if counts.sum() else None


def _confusions(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return side -> confusion matrix of tiles, as far as the figures hold them."""
    found = {}
    for side, levels in (metrics.get("splits") or {}).items():
        tile = (levels or {}).get("tile") or {}
        for figures in (tile.get("aggregations") or {}).values():
            counts = (figures.get("confusion") or {}).get("counts")
            if counts and side not in found:
                found[side] = counts
    return found
