"""``write_comparison``: several runs in one table, and whether they may be compared at all."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from histokeras.errors import ConfigError
from histokeras.report.caution import Caution
from histokeras.report.cautions import cautions
from histokeras.report.html import (
    render,
    require_own_page,
    require_own_run_folder,
    write_page,
)
from histokeras.report.more_plots import forest_plot
from histokeras.report.run_files import RunFiles, read_run
from histokeras.report.tables import Cell, Table
from histokeras.report.text import DASH, at, clean, interval, listed, measured, plural
from histokeras.types import CLASSIFICATION, REGRESSION, SURVIVAL


def write_comparison(runs: Sequence[str | Path], path: str | Path) -> Path:
    """Write one page that compares runs.

    Args:
        runs: Two or more run folders.
        path: The page.

    Returns:
        The page.

    Raises:
        FeatureError: If one is no finished run (RUN_MISSING, RUN_UNFINISHED).
        TableError: If a table of one cannot be read.
        ConfigError: If there are fewer than two runs, or ``path`` is of other origin.
        OutputError: If it cannot be written.
    """
    if len(runs) < 2:
        raise ConfigError(f"a comparison needs at least 2 runs. Received: {len(runs)}.")
    places = [Path(folder).resolve() for folder in runs]
    twice = [place for place in places if places.count(place) > 1]
    if twice:
        raise ConfigError(f"the run {twice[0]} is given twice.", hint="Name each run once.")
    found = [read_run(Path(folder)) for folder in runs]
    page = Path(path)
    require_own_page(page)
    require_own_run_folder(page, None)
    content = compared(_names(found), found)
    html = render(
        "comparison.html.j2",
        title="Comparison of runs",
        subtitle=f"{len(found)} runs",
        **content,
    )
    write_page(page, html, [content["forest"]] if content["forest"] else [])
    return page


def compared(names: Sequence[str], runs: Sequence[RunFiles]) -> dict[str, Any]:
    """Return what a page says of several runs, one beside the other.

    Args:
        names: What to call each.
        runs: One or more.

    Returns:
        ``cautions``, ``table``, ``warnings`` and ``forest`` (None where nothing can be drawn).

    Raises:
        ConfigError: If runs of classes stand beside runs of numbers.
    """
    _require_one_task(runs)
    pairs = list(zip(names, runs, strict=True))
    figure, title, chance = _HEADLINES[runs[0].task]
    rows = [(name, run.figures.get(figure) or {}) for name, run in pairs]
    return {
        "cautions": _differences(pairs),
        "table": _table(pairs),
        "warnings": _warnings(pairs),
        "forest": forest_plot(rows, title, chance),
    }


def _require_one_task(runs: Sequence[RunFiles]) -> None:
    """Refuse runs of classes beside runs of numbers: no figure is common to them."""
    followed = [run.name for run in runs if run.task == SURVIVAL]
    if followed:
        raise ConfigError(
            f"runs of survival ({listed(followed)}) are not compared on one page.",
            hint="Look at the page of each: `histokeras report RUN`.",
        )
    numbers = [run.name for run in runs if run.task == REGRESSION]
    if 0 < len(numbers) < len(runs):
        classes = [run.name for run in runs if run.task != REGRESSION]
        raise ConfigError(
            f"runs of numbers ({listed(numbers)}) and runs of classes ({listed(classes)}) have no "
            "figure in common.",
            hint="Compare them apart.",
        )


def _names(runs: Sequence[RunFiles]) -> list[str]:
    """Return a name a run; where folders have the same name, with their number."""
    names = [run.name for run in runs]
    # Folders of one name in different places.
    longer = [
        name if names.count(name) == 1 else f"{clean(run.folder.resolve().parent.name)}/{name}"
        for name, run in zip(names, runs, strict=True)
    ]
    return [
        name if longer.count(name) == 1 else f"{name} ({i})"
        for i, name in enumerate(longer, start=1)
    ]


def _table(pairs: Sequence[tuple[str, RunFiles]]) -> Table:
    is_number = pairs[0][1].task == REGRESSION
    columns: dict[str, Callable[[RunFiles], Cell]] = {
        **(_NUMBER_FIGURES if is_number else _CLASS_FIGURES),
        "Tested": _tested,
        "Labels at": lambda run: Cell(str(run.metrics.get("label_level") or DASH)),
        "Backbone, weights": lambda run: Cell(_setting(run, "backbone"), _setting(run, "weights")),
        "Head": lambda run: Cell(_head(run)),
        "Note": lambda run: Cell(run.note() or DASH),
    }
    rows: list[list[str | Cell]] = [
        [name, *(of(run) for of in columns.values())] for name, run in pairs
    ]
    note = "Square brackets hold intervals. " + (
        "R²: against the mean of the tested true numbers. The error is in the target's unit."
        if is_number
        else "AUC: of the positive class, else the mean of classes."
    )
    return Table("One row a run", ("Run", *columns), rows, [note])


def _figure(estimate: Any, *, signed: bool = False) -> Cell:
    """Return a figure above its interval: so wide a table has no room for both in a line."""
    text, bracket, ends = interval(estimate, signed=signed).partition(" [")
    return Cell(text, bracket.strip() + ends)


def _floor(run: RunFiles, *keys: str) -> Any:
    return at(run.main, "baselines", "floor", *keys)


def _error(run: RunFiles) -> Cell:
    text, bracket, ends = measured(run.figures.get("mae")).partition(" [")
    return Cell(text, bracket.strip() + ends)


_CLASS_FIGURES: dict[str, Callable[[RunFiles], Cell]] = {
    "AUC": lambda run: _figure(run.figures.get("auc")),
    "Balanced accuracy": lambda run: _figure(run.figures.get("balanced_accuracy")),
    "Accuracy": lambda run: _figure(run.figures.get("accuracy")),
    "AUC of colour and texture": lambda run: _figure(_floor(run, "auc")),
    "Run minus colour and texture": lambda run: _figure(
        _floor(run, "difference", "auc"), signed=True
    ),
    "Brier score": lambda run: _figure(run.figures.get("brier")),
    "ECE": lambda run: _figure(run.figures.get("ece")),
}
_NUMBER_FIGURES: dict[str, Callable[[RunFiles], Cell]] = {
    "Target": lambda run: Cell(run.target),
    "Spearman": lambda run: _figure(run.figures.get("spearman")),
    "R²": lambda run: _figure(run.figures.get("r2")),
    "Mean absolute error": _error,
    "Spearman of colour and texture": lambda run: _figure(_floor(run, "spearman")),
    "Run minus colour and texture": lambda run: _figure(
        _floor(run, "difference", "spearman"), signed=True
    ),
}
_HEADLINES = {CLASSIFICATION: ("auc", "AUC", 0.5), REGRESSION: ("spearman", "Spearman", 0.0)}
"""The figure that is drawn, what it is called, and its value by chance."""


def _setting(run: RunFiles, key: str) -> str:
    found = at(run.record, "features", "settings", key) or at(run.record, "config", key)
    return str(found or DASH)


def _head(run: RunFiles) -> str:
    found = run.head.get("head") or at(run.record, "config", "head")
    return str(found or DASH)


def _tested(run: RunFiles) -> Cell:
    if not run.level:
        return Cell(DASH)
    patients = run.main.get("n_patients") if run.level != "patient" else None
    below = f"of {plural(int(patients), 'patient')}" if patients else ""
    return Cell(plural(int(run.main.get("n") or 0), run.level), below)


def _differences(pairs: Sequence[tuple[str, RunFiles]]) -> list[Caution]:
    """Return why the figures of these runs cannot be set against each other."""
    checks: tuple[tuple[str, str, Callable[[RunFiles], Any], str], ...] = (
        ("classes", "The runs have different classes", lambda run: listed(sorted(run.classes)),
         "They answer different questions."),
        ("targets", "The runs predict different targets",
         lambda run: run.target if run.task == REGRESSION else "",
         "They answer different questions."),
        ("levels", "The figures stand at different levels", lambda run: run.level or "none",
         "A figure of tiles and one of patients mean different things."),
        ("labels", "The labels differ", lambda run: _digest(at(run.record, "inputs", "labels")),
         "The same patients may bear other labels, or there are other patients."),
        ("splits", "The test sets differ", _test_set,
         "The runs were tested on other patients: a difference may be one of patients, not of "
         "networks."),
        ("sides", "Different parts were evaluated", lambda run: run.split,
         "A test side and a whole cohort hold other patients."),
    )  # fmt: skip
    found = []
    for code, title, of, meaning in checks:
        groups: dict[str, list[str]] = {}
        for name, run in pairs:
            groups.setdefault(str(of(run)), []).append(name)
        known = {value: names for value, names in groups.items() if value not in ("", "None")}
        if len(known) > 1:
            said = "; ".join(_group(code, value, names) for value, names in groups.items())
            action = (
                "Do not compare the figures of these runs. Fit them on the same labels and the "
                "same split file (fit-head --split)."
            )
            found.append(Caution(code, title, f"{meaning} {said}.", action))
        elif known and len(groups) > 1:
            unknown = listed(
                [n for value, names in groups.items() if value not in known for n in names]
            )
            found.append(
                Caution(
                    f"{code}-unknown",
                    f"It is not known whether {title[0].lower()}{title[1:]}",
                    f"Not recorded for {unknown}. {meaning}",
                    "Check that the same patients were tested before you compare.",
                )
            )
    return found


def _group(code: str, value: str, names: Sequence[str]) -> str:
    if value in ("", "None"):
        return f"{listed(names)}: not recorded"
    # Digests tell a reader nothing: which runs go together does.
    return listed(names) if code in ("labels", "splits") else f"{listed(names)}: {value}"


def _digest(value: Any) -> str:
    return str(value)[:12] if value else ""


def _test_set(run: RunFiles) -> str:
    return _digest(at(run.record, "split", "sha256"))


def _warnings(pairs: Sequence[tuple[str, RunFiles]]) -> Table:
    rows = [
        [name, "; ".join(caution.title for caution in cautions(run)) or "No warnings."]
        for name, run in pairs
    ]
    return Table(
        "Warnings of each run; its own page explains them", ("Run", "Warnings"), rows, css="words"
    )
