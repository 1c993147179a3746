"""The tables of a run's page, as rows of cells for the template."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from histokeras.report.run_files import RunFiles, main_aggregation
from histokeras.report.text import (
    DASH,
    at,
    interval,
    is_number,
    listed,
    number,
    percent,
    plural,
    value_text,
)

_AGGREGATIONS = {
    "probability": "Probability",
    "mean_probability": "Mean probability of tiles",
    "share_of_tiles": "Share of tiles",
}
_MOST_REASONS = 20
_MOST_PAIRS = 10
OPTIMISTIC = {
    "train": "the head was fitted to these: not a measure of what it can do",
    "val": "training stopped where these were best: optimistic",
}
"""What must be said of figures of these sides."""


@dataclass(frozen=True)
class Cell:
    """A cell with a second line, a shade, a bar or a link.

    Attributes:
        text: First line.
        below: Second line, smaller.
        shade: 0..10, how dark the background is; None for none.
        bar: 0..1, length of a bar behind the text; None for none.
        link: Where the text leads to, quoted; "" for nowhere.
    """

    text: str
    below: str = ""
    shade: int | None = None
    bar: float | None = None
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row names it.

    Attributes:
        caption: What it shows.
        head: Column names.
        rows: Text or cells.
        notes: Remarks below it.
        css: Further class of the element.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    notes: Sequence[str] = field(default_factory=tuple)
    css: str = ""


def funnel_table(
    run: RunFiles, caption: str = "From the label table to the figures"
) -> Table | None:
    """Return how many are left after each step, with bars."""
    funnel: Mapping[str, Any] = run.record.get("funnel") or {}
    most = max([count for count in funnel.values() if is_number(count)], default=0)
    rows: list[list[str | Cell]] = []
    last = None
    for step, count in funnel.items():
        lost = "" if last is None or last == count else f"\u2212{last - count:,}"
        rows.append([str(step), Cell(f"{count:,}", bar=count / most if most else 0.0), lost])
        last = count
    if not rows:
        return None
    return Table(caption, ("Step", "Left", "Lost"), rows, css="funnel")


def dropped_table(run: RunFiles) -> Table | None:
    """Return what was left out, counted by reason; the commonest first."""
    dropped = run.tables["dropped"]
    if not len(dropped) or not {"kind", "id", "reason"} <= set(dropped):
        return None
    # Rows of one kind of fault differ only in their numbers.
    reasons = dropped["reason"].str.replace(r"\brow \d+\b", "row …", regex=True)
    rows: list[list[str | Cell]] = [
        [str(reason), str(kind), f"{len(names):,}", listed(names.tolist(), most=3)]
        for (reason, kind), names in dropped.groupby([reasons, "kind"])["id"]
    ]
    rows.sort(key=lambda row: -int(str(row[2]).replace(",", "")))
    more = len(rows) - _MOST_REASONS
    notes = [f"{plural(more, 'further reason')}: see dropped.csv."] if more > 0 else []
    head = ("Reason", "What", "Number", "Such as")
    return Table("Left out, by reason", head, rows[:_MOST_REASONS], notes)


def pairs_table(run: RunFiles) -> Table | None:
    """Return the first pairs of tiles or slides that look the same across patients or sides."""
    pairs = run.tables["duplicates"]
    ends = [f"{name}_{end}" for end in "ab" for name in ("slide", "tile", "patient", "split")]
    if not len(pairs) or not {"how", *ends} <= set(pairs):
        return None
    rows: list[list[str | Cell]] = [
        [_end(row, "a"), _end(row, "b"), str(row["how"])]
        for row in pairs.head(_MOST_PAIRS).to_dict("records")
    ]
    more = len(pairs) - len(rows)
    notes = [f"{plural(more, 'more pair')}: see duplicates.csv."] if more else []
    return Table("Look the same", ("One", "The other", "How"), rows, notes)


def _end(row: Mapping[Hashable, Any], end: str) -> str:
    patient = f" of {row[f'patient_{end}']}" if row[f"patient_{end}"] else ""
    return f"{row[f'tile_{end}'] or row[f'slide_{end}']}{patient} ({row[f'split_{end}']})"


def sides_table(run: RunFiles) -> Table | None:
    """Return how many patients of each class lie on each side."""
    patients = run.tables["patients"]
    if not len(patients) or not {"label", "split"} <= set(patients):
        return None
    known = patients[(patients["label"] != "") & (patients["split"] != "")]
    sides = [side for side in ("train", "val", "test") if (known["split"] == side).any()]
    if not sides:
        return None
    words = {"train": "Training", "val": "Validation", "test": "Test"}
    rows = [
        [
            name,
            *(f"{((known['label'] == name) & (known['split'] == side)).sum():,}" for side in sides),
        ]
        for name in run.classes
    ]
    rows.append(["all", *(f"{(known['split'] == side).sum():,}" for side in sides)])
    return Table(
        "Patients with predictions, by class and side", ("Class", *(words[s] for s in sides)), rows
    )


def figure_tables(run: RunFiles) -> list[Table]:
    """Return all figures, one table a level and one of the classes where they are many."""
    tables: list[Table] = []
    levels = run.levels
    for level, values in levels.items():
        if level == "slide" and same_figures(levels.get("patient"), values):
            tables[-1] = noted(tables[-1], "Slide level: each patient has one slide, so the "
                                            "figures are the same.")  # fmt: skip
            continue
        tables.append(_level_table(run, level, values))
        tables.append(_class_table(run, level, values))
    return tables


def not_evaluated(run: RunFiles) -> list[str]:
    """Return why levels have no figures."""
    found: Mapping[str, Any] = at(run.metrics, "splits", run.split) or {}
    return [
        f"{level.capitalize()} level: not evaluated ({values.get('reason', 'unknown')})."
        for level, values in found.items()
        if not values.get("evaluated")
    ]


def same_figures(patients: Mapping[str, Any] | None, slides: Mapping[str, Any]) -> bool:
    """Whether two levels hold the same: each patient has one slide."""
    keys = ("n", "n_per_class", "aggregations")
    return patients is not None and all(patients.get(key) == slides.get(key) for key in keys)


def noted(table: Table, note: str) -> Table:
    """Return a table with one more remark."""
    return Table(table.caption, table.head, table.rows, (*table.notes, note), table.css)


def _level_table(run: RunFiles, level: str, values: Mapping[str, Any]) -> Table:
    aggregations: Mapping[str, Any] = values.get("aggregations") or {}
    first = main_aggregation(values)
    of = first.get("auc_of")
    of = of if of and of != "macro" else "mean of classes"
    names = [
        (f"AUC ({of})", "auc"),
        (f"PR-AUC ({of})", "pr_auc"),
        ("Balanced accuracy", "balanced_accuracy"),
        ("Accuracy", "accuracy"),
        ("F1, mean of classes", "f1_macro"),
        ("Brier score (lower is better)", "brier"),
        ("Calibration error, ECE (lower is better)", "ece"),
    ]
    rows = [
        [name, *(interval(figures.get(key)) for figures in aggregations.values())]
        for name, key in names
        if any(figures.get(key) for figures in aggregations.values())
    ]
    head = ("Figure", *(_AGGREGATIONS.get(name, name) for name in aggregations))
    notes = dict.fromkeys(
        str(estimate["note"])
        for figures in aggregations.values()
        for estimate in _estimates(figures)
        if estimate.get("note")
    )
    notes |= dict.fromkeys([str(values["note"])] if values.get("note") else [])
    return Table(level_caption(run, level, values), head, rows, [f"Note: {n}." for n in notes])


def _estimates(figures: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    for value in figures.values():
        if isinstance(value, Mapping):
            if "value" in value:
                yield value
            else:
                yield from (item for item in value.values() if isinstance(item, Mapping))


def level_caption(run: RunFiles, level: str, values: Mapping[str, Any]) -> str:
    """Return the caption of a level's figures: what was tested, and how many."""
    text = f"{level.capitalize()} level: {plural(int(values.get('n') or 0), level)}"
    if level != "patient" and values.get("n_patients"):
        text += f" of {plural(int(values['n_patients']), 'patient')}"
    if values.get("n_unlabelled"):
        text += f" (and {values['n_unlabelled']:,} without a label)"
    whole = "whole cohort" if run.split == "all" else f"{run.split} side"
    return f"{text}, {whole}"


def _class_table(run: RunFiles, level: str, values: Mapping[str, Any]) -> Table:
    figures = main_aggregation(values)
    specificity = values.get("specificity", figures.get("specificity", 0.9))
    columns = [
        ("AUC", "auc_per_class"),
        ("PR-AUC", "pr_auc_per_class"),
        (f"Sensitivity at {percent(specificity)} specificity", "sensitivity_at_specificity"),
        ("F1", "f1_per_class"),
    ]
    columns = [(name, key) for name, key in columns if figures.get(key)]
    rows = []
    for name in run.classes:
        count = at(values, "n_per_class", name)
        share = percent(at(values, "prevalence", name))
        cells = [interval(at(figures, key, name)) for _, key in columns]
        rows.append([name, DASH if count is None else f"{count:,} ({share})", *cells])
    head = ("Class", f"{level.capitalize()}s", *(name for name, _ in columns))
    notes = [f"AUC, PR-AUC and sensitivity are those of {run.positive}, the positive class."]
    return Table(f"{level.capitalize()} level, by class", head, rows, notes if run.positive else ())


def other_sides_table(run: RunFiles) -> Table | None:
    """Return the figures of the sides that the verdict does not speak of."""
    rows = []
    for side, levels in (at(run.metrics, "splits") or {}).items():
        for level, values in levels.items():
            if side != run.split and values.get("evaluated") and level in run.levels:
                figures = main_aggregation(values)
                cells = [interval(figures.get(key)) for key in ("auc", "balanced_accuracy")]
                rows.append([f"{side}, {level} level", f"{values.get('n', 0):,}", *cells,
                             OPTIMISTIC.get(side, "")])  # fmt: skip
    if not rows:
        return None
    head = ("Side", "Number", "AUC", "Balanced accuracy", "Mind")
    return Table("Other sides of the split, for comparison only", head, rows)


def baseline_table(run: RunFiles) -> Table | None:
    """Return the network and each baseline, with the difference below each figure."""
    baselines: Mapping[str, Any] = run.main.get("baselines") or {}
    if not baselines:
        return None
    keys = ("auc", "balanced_accuracy", "accuracy", "f1_macro")
    rows: list[list[str | Cell]] = [["This run", *(interval(run.figures.get(key)) for key in keys)]]
    for name, values in baselines.items():
        cells: list[str | Cell] = [str(values.get("title") or name)]
        for key in keys:
            difference = at(values, "difference", key)
            below = f"Δ {interval(difference, signed=True)}" if difference else ""
            cells.append(Cell(interval(values.get(key)), below))
        rows.append(cells)
    head = ("Classifier", "AUC", "Balanced accuracy", "Accuracy", "F1, mean of classes")
    unit = run.main.get("resampled_by") or run.level
    notes = [
        f"Δ: this run minus the baseline, on the same resamples of {unit}s. Above 0 the run "
        "is better; an interval that holds 0 leaves it open."
    ]
    if run.main.get("folds"):
        notes.append(
            "Pooled over folds, whatever knows little falls below an AUC of 0.5 rather than to "
            "it, because each test fold lacks what its training folds have more of."
        )
    caption = f"Simple baselines, fitted to the same training data, {run.level} level"
    return Table(caption, head, rows, notes)


def fold_table(run: RunFiles) -> Table | None:
    """Return the figures of each fold; None without cross-validation."""
    folds = run.main.get("folds") or []
    keys = ("auc", "balanced_accuracy", "accuracy", "f1_macro")
    rows = [
        [f"{fold.get('fold')}", f"{fold.get('n', 0):,}", *(number(fold.get(key)) for key in keys)]
        for fold in folds
    ]
    if not rows:
        return None
    head = ("Fold", f"{run.level.capitalize()}s", "AUC", "Balanced accuracy", "Accuracy", "F1")
    note = (
        "The figures above pool all folds; folds share training data, so their spread is no "
        "interval."
    )
    return Table(f"Folds, {run.level} level", head, rows, [note])


def confusion_table(run: RunFiles) -> Table | None:
    """Return the confusion matrix: rows the truth, shaded by the share of the row."""
    counts = at(run.figures, "confusion", "counts")
    shares = at(run.figures, "confusion", "row_shares")
    if not counts or not shares:
        return None
    rows: list[list[str | Cell]] = [
        [name, *(_heat(c, s) for c, s in zip(numbers, row, strict=False)), f"{sum(numbers):,}"]
        for name, numbers, row in zip(run.classes, counts, shares, strict=False)
    ]
    return Table(
        f"Rows: the truth. Columns: what the run says. {run.level.capitalize()} level.",
        ("True class", *(f"says {name}" for name in run.classes), "All"),
        rows,
        css="confusion",
    )


def _heat(count: Any, share: Any) -> Cell:
    known = is_number(share)
    return Cell(f"{count:,}", percent(share), shade=round(10 * share) if known else 0)


def calibration_table(run: RunFiles) -> Table | None:
    """Return Brier score and ECE before and after temperature scaling."""
    states = run.main.get("calibration") or {}
    rows = [
        [text, interval(at(states, state, "brier")), interval(at(states, state, "ece"))]
        for state, text in (("before", "Before scaling"), ("after", "After scaling"))
        if at(states, state)
    ]
    if not rows:
        return None
    temperature = run.record.get("temperature")
    notes = []
    if temperature is not None:
        found = temperature if isinstance(temperature, list) else [temperature]
        shown = ", ".join(number(value) for value in found)
        notes.append(f"Temperature: {shown} (above 1: the head was too sure).")
    notes += [f"Temperature scaling: {note}." for note in run.temperature_notes]
    if _worse(states):
        notes.append("Scaling did not help here: what fitted the validation side fits these less.")
    notes.append(
        "The ECE of a small cohort is too high by chance, and its interval does not mend that."
    )
    return Table(
        f"Calibration, {run.level} level (lower is better)",
        ("Probabilities", "Brier score", "Calibration error (ECE)"),
        rows,
        notes,
    )


def _worse(states: Mapping[str, Any]) -> bool:
    """Tell whether scaling made both figures worse."""
    pairs = [
        (at(states, "before", key, "value"), at(states, "after", key, "value"))
        for key in ("brier", "ece")
    ]
    return all(is_number(old) and is_number(new) and new > old for old, new in pairs)


def settings_table(caption: str, content: Mapping[str, Any] | None) -> Table | None:
    """Return settings as names and values."""
    rows = [[str(key), value_text(value)] for key, value in (content or {}).items()]
    return Table(caption, ("Name", "Value"), rows, css="settings") if rows else None
