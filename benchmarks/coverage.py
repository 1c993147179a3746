"""How often a 95 % interval holds the truth: ``python -m benchmarks.coverage``.

Cohorts are drawn from a known law: scores of negatives are standard normal, those of positives
shifted so that the AUC is .75. Half of the patients are positive, by chance. The same function that
gives a run its intervals resamples each cohort. With several tiles a patient, a part of the
variance belongs to the patient, the rest to the tile: the truth stays the same.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from histokeras.analysis.bootstrap import N_RESAMPLES, patient_bootstrap
from histokeras.analysis.figures import headline_figures
from histokeras.runs.environment import hardware, versions

TRUE_AUC = 0.75
GOAL = (0.93, 0.97)
TILES = 8
PATIENT_SHARE = 0.5
"""Share of the score's variance that all tiles of a patient have in common."""
DESIGNS = ((200, 1), (200, TILES), (40, 1), (40, TILES))


@dataclass(frozen=True)
class Cohort:
    """Simulated tiles.

    Attributes:
        targets: 0 or 1, the same for all tiles of a patient, shape ``(n,)``.
        scores: Shape ``(n,)``, in 0..1; the second class's.
        patients: Patient numbers, shape ``(n,)``.
    """

    targets: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    patients: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Coverage:
    """What the intervals of many cohorts did.

    Attributes:
        patients: Patients of a cohort.
        tiles: Tiles of a patient.
        cohorts: Simulated cohorts.
        held: Share of the intervals that hold the true AUC.
        above: Share that lie above it wholly.
        below: Share that lie below it wholly.
        width: Mean width of an interval.
        mean: Mean AUC of the cohorts.
        seconds: Time of all.
    """

    patients: int
    tiles: int
    cohorts: int
    held: float
    above: float
    below: float
    width: float
    mean: float
    seconds: float

    @property
    def error(self) -> float:
        """Return the standard error of ``held``, from the number of cohorts."""
        return math.sqrt(self.held * (1 - self.held) / self.cohorts)


def shift_of(auc: float) -> float:
    """Return how far the positives' normal law lies above the negatives'.

    A positive beats a negative where the difference of two standard normal scores, of variance 2,
    stays below the shift: ``AUC = Phi(shift / sqrt(2))``.
    """
    return math.sqrt(2) * NormalDist().inv_cdf(auc)


def pooled_auc(shift: float, patient_variance: float, tile_variance: float) -> float:
    """Return the true AUC over tiles of many patients: how often a positive beats a negative.

    Labels are the patients', so that the two tiles of such a pair are of two patients and their
    scores independent. Each has the variance of patients and that of tiles together.
    """
    return NormalDist().cdf(shift / math.sqrt(2 * (patient_variance + tile_variance)))


def simulate(rng: np.random.Generator, n_patients: int, n_tiles: int) -> Cohort:
    """Draw a cohort; one that lacks a class is drawn again, as no one would evaluate it.

    Args:
        rng: Where the draws come from.
        n_patients: Patients.
        n_tiles: Tiles of each.
    """
    positive = np.zeros(n_patients, dtype=np.int64)
    while positive.min() == positive.max():
        positive = rng.integers(0, 2, n_patients)
    share = PATIENT_SHARE if n_tiles > 1 else 0.0
    common = math.sqrt(share) * rng.standard_normal((n_patients, 1))
    own = math.sqrt(1 - share) * rng.standard_normal((n_patients, n_tiles))
    values = positive[:, np.newaxis] * shift_of(TRUE_AUC) + common + own
    # The logistic function changes no order and gives what a network gives.
    return Cohort(
        np.repeat(positive, n_tiles),
        1 / (1 + np.exp(-values.ravel())),
        np.repeat(np.arange(n_patients), n_tiles),
    )


def measure(
    n_patients: int, n_tiles: int, *, cohorts: int, resamples: int, seed: int = 0
) -> Coverage:
    """Count the intervals that hold the truth.

    Args:
        n_patients: Patients of a cohort.
        n_tiles: Tiles of a patient.
        cohorts: How many to simulate.
        resamples: Resamples behind every interval.
        seed: Seed of the cohorts and of their resamples.
    """
    start = time.perf_counter()
    truth = pooled_auc(shift_of(TRUE_AUC), PATIENT_SHARE, 1 - PATIENT_SHARE)
    rng = np.random.default_rng([seed, n_patients, n_tiles])
    ends = np.empty((cohorts, 2))
    values = np.empty(cohorts)
    for number in range(cohorts):
        cohort = simulate(rng, n_patients, n_tiles)
        scores = np.column_stack([1 - cohort.scores, cohort.scores])
        figures = headline_figures(
            cohort.targets, scores, cohort.patients, ("no", "yes"), positive="yes"
        )
        found = patient_bootstrap(figures, n_resamples=resamples, seed=seed + number)["auc"]
        values[number] = found.value
        ends[number] = found.low, found.high
    above, below = ends[:, 0] > truth, ends[:, 1] < truth
    return Coverage(
        n_patients,
        n_tiles,
        cohorts,
        float(1 - (above | below).mean()),
        float(above.mean()),
        float(below.mean()),
        float(np.diff(ends).mean()),
        float(values.mean()),
        time.perf_counter() - start,
    )


def coverage_table(found: Sequence[Coverage], resamples: int) -> str:
    """Return one line a design."""
    lines = [
        f"95 % intervals of the AUC, true value {TRUE_AUC}, {found[0].cohorts:,} cohorts, "
        f"{resamples:,} resamples of patients",
        "",
        f"{'patients':>8}{'tiles each':>12}{'hold the truth':>20}{'too high':>10}{'too low':>9}"
        f"{'mean width':>12}{'mean AUC':>10}",
    ]
    lines += [
        f"{row.patients:>8}{row.tiles:>12}{f'{row.held:.1%} +/- {row.error:.1%}':>20}"
        f"{row.above:>10.1%}{row.below:>9.1%}{row.width:>12.3f}{row.mean:>10.3f}"
        for row in found
    ]
    low, high = GOAL
    return "\n".join([*lines, "", f"goal at 200 patients: {low:.0%} to {high:.0%}"])


@click.command()
@click.option("--cohorts", type=click.IntRange(min=1), default=1000, show_default=True,
              help="Simulated cohorts of each design.")  # fmt: skip
@click.option("--resamples", type=click.IntRange(min=1), default=N_RESAMPLES, show_default=True,
              help="Resamples behind every interval.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(cohorts: int, resamples: int, seed: int, as_json: bool) -> None:
    """Count how many 95 % intervals of simulated cohorts hold the true AUC."""
    found = []
    for n_patients, n_tiles in DESIGNS:
        print(f"{n_patients} patients of {n_tiles} tile(s)", file=sys.stderr, flush=True)
        found.append(measure(n_patients, n_tiles, cohorts=cohorts, resamples=resamples, seed=seed))
    document: dict[str, Any] = {
        "hardware": hardware(),
        "versions": versions(),
        "true_auc": TRUE_AUC,
        "resamples": resamples,
        "designs": [asdict(row) for row in found],
    }
    print(json.dumps(document, indent=2) if as_json else coverage_table(found, resamples))


if __name__ == "__main__":
    main()
