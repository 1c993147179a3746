"""Percentile intervals by resampling patients, never tiles: tiles of one patient are alike."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from histokeras.analysis.metrics import Bools, Floats, Ints

N_RESAMPLES = 2000
ALPHA = 0.05
FEW_PATIENTS = 5
"""Below this number of patients in a class, an interval is called unreliable."""
_DRAWS_A_RESAMPLE = 20
_CELLS_A_BLOCK = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Attributes:
        value: The figure on all patients; None where it is not defined.
        low: Lower end of the interval; None where there is none, and ``note`` says why.
        high: Upper end.
        n_patients: Number of patients; None if something else was resampled.
        n_resamples: Resamples behind the interval.
        redrawn: Resamples that were drawn again, because a class was missing from them.
        note: What a reader must know, in words; empty if nothing.
    """

    value: float | None
    low: float | None
    high: float | None
    n_patients: int | None
    n_resamples: int
    redrawn: int
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values; None, never NaN."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Figures:
    """Figures as functions of how often every patient was drawn.

    Attributes:
        names: Names of the ``M`` figures.
        of_counts: Takes counts ``(b, P)`` float64, whole numbers; returns ``(b, M)`` float64, NaN
            where a figure is not defined.
        n_patients: Number of patients, ``P``.
        needs: For every figure the groups of which a resample must hold at least one patient.
        groups: Name of a group (``class yes``) -> which patients belong to it, ``(P,)`` bool.
    """

    names: tuple[str, ...]
    of_counts: Callable[[Floats], Floats]
    n_patients: int
    needs: tuple[tuple[str, ...], ...]
    groups: Mapping[str, Bools]


def join_figures(*parts: Figures) -> Figures:
    """Put figures of the same patients side by side, so that one bootstrap serves them all.

    Args:
        parts: At least one, with different names and equally many patients; groups of one name are
            the same.
    """

    def of_counts(counts: Floats) -> Floats:
        return np.column_stack([part.of_counts(counts) for part in parts])

    return Figures(
        names=tuple(name for part in parts for name in part.names),
        of_counts=of_counts,
        n_patients=parts[0].n_patients,
        needs=tuple(needs for part in parts for needs in part.needs),
        groups={name: members for part in parts for name, members in part.groups.items()},
    )


@dataclass(eq=False)
class _Sample:
    """Values of every figure over its first ``n_resamples`` usable resamples."""

    values: Floats
    filled: Ints
    redrawn: Ints
    drawn: int = 0

    def add(self, column: int, values: Floats, usable: Bools) -> None:
        """Add a block; what comes after the last resample that is wanted does not count."""
        positions = np.flatnonzero(usable)[: len(self.values) - self.filled[column]]
        begin = self.filled[column]
        self.filled[column] += len(positions)
        self.values[begin : self.filled[column], column] = values[positions]
        full = self.filled[column] == len(self.values)
        looked_at = positions[-1] + 1 if full else len(usable)
        self.redrawn[column] += looked_at - len(positions)


def draw_counts(rng: np.random.Generator, n_resamples: int, n_patients: int) -> Floats:
    """Draw patients with replacement, as many as there are, and count them.

    Args:
        rng: Where the draws come from; the next resamples continue its stream.
        n_resamples: Number of resamples, ``b``.
        n_patients: Number of patients, ``P``.

    Returns:
        How often every patient was drawn, shape ``(b, P)``, float64; each row sums to ``P``.
    """
    drawn = rng.integers(0, n_patients, size=(n_resamples, n_patients))
    drawn += np.arange(n_resamples)[:, np.newaxis] * n_patients
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n_patients)
    return counts.astype(np.float64).reshape(n_resamples, n_patients)


def patient_bootstrap(
    figures: Figures,
    *,
    n_resamples: int = N_RESAMPLES,
    alpha: float = ALPHA,
    seed: int = 0,
    unit: str = "patient",
) -> dict[str, Estimate]:
    """Estimate figures with percentile intervals from resamples of patients.

    All figures see the same stream of resamples. A resample that lacks a class a figure needs is
    drawn again for that figure, and counted; after 20 draws a resample the figure gets no interval.

    Args:
        figures: What to estimate. Patients must stand in the order of their ids, so that the
            interval does not depend on the order of rows.
        n_resamples: Resamples behind every interval, at least 1.
        alpha: Share outside the interval, in (0, 1): 0.05 gives 95 % intervals.
        seed: Seed of the draws.
        unit: What is resampled, one word: ``patient``, or ``tile`` where patients are unknown.

    Returns:
        Name -> estimate.

    Raises:
        ValueError: If ``n_resamples`` or ``alpha`` lies outside its range.
    """
    if n_resamples < 1:
        raise ValueError(f"`n_resamples` must be at least 1. Received: n_resamples={n_resamples}")
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` is a share in (0, 1). Received: alpha={alpha}")
    if figures.n_patients == 0:
        empty = Estimate(None, None, None, _patients(0, unit), 0, 0, f"no {unit}s")
        return dict.fromkeys(figures.names, empty)
    values = figures.of_counts(np.ones((1, figures.n_patients)))[0]
    sample = _resample(figures, np.isfinite(values), n_resamples, seed)
    return {
        name: _estimate(figures, column, float(values[column]), sample, alpha, unit)
        for column, name in enumerate(figures.names)
    }


def _resample(figures: Figures, defined: Bools, n_resamples: int, seed: int) -> _Sample:
    n_figures = len(figures.names)
    sample = _Sample(
        np.full((n_resamples, n_figures), np.nan),
        np.zeros(n_figures, dtype=np.int64),
        np.zeros(n_figures, dtype=np.int64),
    )
    rng = np.random.default_rng(seed)
    wanted = [column for column in range(n_figures) if defined[column] and _can(figures, column)]
    block_rows = max(1, _CELLS_A_BLOCK // figures.n_patients)
    while wanted and sample.drawn < _DRAWS_A_RESAMPLE * n_resamples:
        missing = n_resamples - int(sample.filled[wanted].min())
        # At least 64 at once: few resamples are missing when some had to be drawn again.
        rows = min(block_rows, max(missing, 64), _DRAWS_A_RESAMPLE * n_resamples - sample.drawn)
        counts = draw_counts(rng, rows, figures.n_patients)
        sample.drawn += rows
        values = figures.of_counts(counts)
        held = {name: (counts @ members) > 0 for name, members in figures.groups.items()}
        for column in wanted:
            usable = np.isfinite(values[:, column])
            for name in figures.needs[column]:
                usable &= held[name]
            sample.add(column, values[:, column], usable)
        wanted = [column for column in wanted if sample.filled[column] < n_resamples]
    return sample


def _can(figures: Figures, column: int) -> bool:
    """Whether resampling can say anything: two patients, and none of the groups empty."""
    return figures.n_patients > 1 and all(
        figures.groups[name].any() for name in figures.needs[column]
    )


def _patients(n_patients: int, unit: str) -> int | None:
    return n_patients if unit == "patient" else None


def _estimate(
    figures: Figures, column: int, value: float, sample: _Sample, alpha: float, unit: str
) -> Estimate:
    filled, redrawn = int(sample.filled[column]), int(sample.redrawn[column])
    notes = _notes(figures, column, unit)
    low = high = None
    if filled == len(sample.values):
        ends = np.quantile(sample.values[:, column], [alpha / 2, 1 - alpha / 2])
        low, high = float(ends[0]), float(ends[1])
    elif np.isfinite(value) and _can(figures, column):
        notes.append(
            f"only {filled} of {sample.drawn} resamples hold every class that is needed: "
            "no interval"
        )
    return Estimate(
        value=value if np.isfinite(value) else None,
        low=low,
        high=high,
        n_patients=_patients(figures.n_patients, unit),
        n_resamples=filled,
        redrawn=redrawn,
        note="; ".join(notes),
    )


def _notes(figures: Figures, column: int, unit: str) -> list[str]:
    if figures.n_patients == 1:
        return [f"one {unit}: no interval"]
    sizes = {name: int(figures.groups[name].sum()) for name in figures.needs[column]}
    absent = [name for name, size in sizes.items() if not size]
    few = [name for name, size in sizes.items() if size < FEW_PATIENTS]
    if absent:
        return [f"no {unit} in {', '.join(absent)}: no interval"]
    if few:
        where = ", ".join(sorted(few))
        return [f"fewer than {FEW_PATIENTS} {unit}s in {where}: interval not reliable"]
    if figures.n_patients < FEW_PATIENTS:
        return [f"fewer than {FEW_PATIENTS} {unit}s: interval not reliable"]
    return []
