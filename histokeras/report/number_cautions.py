"""Warnings that only predicted numbers need; they are silent for classes."""

import math
from collections.abc import Iterator
from typing import Any

from histokeras.report.caution import Caution
from histokeras.report.run_files import RunFiles
from histokeras.report.text import at, interval, is_number, number, plural
from histokeras.types import REGRESSION

_FEW = 30


def no_relation(run: RunFiles) -> Iterator[Caution]:
    """Warn where the interval of Spearman's correlation does not lie above 0."""
    if run.task != REGRESSION or not run.main:
        return
    spearman = run.figures.get("spearman") or {}
    low: Any = spearman.get("low")
    if is_number(low) and low > 0:
        return
    why = spearman.get("note") if spearman.get("value") is None else ""
    yield Caution(
        "no-relation",
        f"No relation to {run.target} is shown",
        why
        or f"The Spearman correlation is {interval(spearman)}: 0, which is chance, is not "
        "excluded.",
        "Do not use these predictions. More patients, another backbone or a target that tissue "
        "can show may help.",
    )


def values_off(run: RunFiles) -> Iterator[Caution]:
    """Warn where ranks are right and numbers are not."""
    if run.task != REGRESSION or not run.main:
        return
    low, r2 = at(run.figures, "spearman", "low"), at(run.figures, "r2", "value")
    if is_number(low) and low > 0 and is_number(r2) and r2 <= 0:
        yield Caution(
            "values-off",
            "The ranking holds, the numbers do not",
            f"R² is {number(r2)}: the mean of these true numbers, the same for everyone, would be "
            "nearer than the predictions.",
            "Use the order of the predictions, not their value; look at the scatter plot for a "
            "shift or a wrong slope.",
        )


def few(run: RunFiles) -> Iterator[Caution]:
    """Warn where so few were tested that chance alone correlates."""
    n = int(run.main.get("n") or 0)
    if run.task != REGRESSION or not 3 < n < _FEW:
        return
    chance = min(1.0, 1.96 / math.sqrt(n - 1))
    tested_once = run.record.get("command") == "fit-head" and not at(run.record, "split", "folds")
    yield Caution(
        "few",
        f"Only {plural(n, run.level)} were tested",
        f"Of so few, numbers without any relation correlate beyond ±{chance:.2f} one time in "
        "twenty.",
        f"Read the interval, not the figure. Add {run.level}s"
        + (", or use cross-validation (--cv) so that all are tested once." if tested_once else "."),
    )
