"""Evaluate predictions on disk, of a run or an external cohort; write what a report needs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.analysis.collect import Predictions
from histokeras.analysis.evaluate import curves_of_levels
from histokeras.analysis.saved import Saved, figures, relabelled
from histokeras.analysis.tables import write_tables
from histokeras.analysis.units import EvaluationConfig
from histokeras.cohort.join import Joined
from histokeras.cohort.labels import Cohort
from histokeras.errors import ConfigError
from histokeras.files import prepare_folder, remove, write_bytes, write_csv, write_json
from histokeras.runs.record import RunRecord, read_record, require_own_folder
from histokeras.tables import read_own
from histokeras.types import LABEL, REGRESSION, SLIDE_ID, SPLIT, TILE

_TAKEN_OVER = ("failures.csv", "dropped.csv", "duplicates.csv")
# The figures go first and come last: with them there, the rest is there.
OUTPUTS = ("metrics.json", "curves.json", "slides.csv", "patients.csv", *_TAKEN_OVER, "pictures",
           "pictures.csv", "report", "report.html")  # fmt: skip
_SAMPLES, _CONFIDENT = 12, 8


@dataclass(frozen=True)
class Evaluation:
    """Figures of saved predictions, and what they were computed from.

    Attributes:
        saved: The predictions on disk.
        predictions: Slides, patients and, for tile labels, tiles.
        metrics: What stands in metrics.json.
        curves: What stands in curves.json.
        cohort: The labels of an external table; None if the run's own were taken.
        joined: What was joined to them.
    """

    saved: Saved
    predictions: Predictions
    metrics: dict[str, Any]
    curves: dict[str, Any]
    cohort: Cohort | None = None
    joined: Joined | None = None


def evaluate_saved(
    saved: Saved,
    labels: Path | pd.DataFrame | None,
    output: Path | None,
    *,
    target: str = LABEL,
    positive: str | None = None,
    slide_patients: Mapping[str, str] | None = None,
    patients_unknown: bool = False,
    strict: bool = False,
    config: EvaluationConfig | None = None,
) -> Evaluation:
    """Compute the figures of predictions on disk.

    Args:
        saved: Of :func:`~histokeras.analysis.saved.open_saved`.
        labels: A label table; None for the labels that a run was fitted with.
        output: Where :func:`write_evaluation` will write, so that a folder that is not ours is
            refused before the work; None for nowhere.
        target: Column of the label table.
        positive: Of two classes the positive one; what the run named if None.
        slide_patients: slide_id to patient_id.
        patients_unknown: Accept slides or tiles without patients.
        strict: Refuse rows without a label.
        config: Resamples, seed, side; the defaults if None.

    Raises:
        ConfigError: If there are no labels, or the output folder holds something else.
        TableError: If the labels do not fit.
        LeakageError: If all that is labelled was in the training data.
    """
    if output is not None:
        require_own_folder(output, ("evaluate",), OUTPUTS)
    cohort: Cohort | None = None
    joined: Joined | None = None
    level, note = saved.level, saved.note
    if labels is not None:
        predictions, cohort, joined = relabelled(
            saved,
            labels,
            target=target,
            slide_patients=slide_patients,
            patients_unknown=patients_unknown,
            strict=strict,
        )
        level, note = cohort.level, joined.note
    elif not level:
        raise ConfigError("these predictions carry no labels.", hint="Give --labels TABLE.")
    else:
        predictions = saved.collect()
    config = replace(config or EvaluationConfig(), patient_safe=not note, is_floor=saved.is_floor)
    metrics = figures(
        predictions, level, positive=positive or saved.positive, note=note, config=config
    )
    split = next(iter(metrics["splits"]))
    curves = curves_of_levels(predictions, metrics, split, config=config)
    return Evaluation(saved, predictions, metrics, curves, cohort, joined)


def write_evaluation(
    folder: Path, evaluation: Evaluation, *, config: Mapping[str, Any], command_line: str = ""
) -> None:
    """Write figures, curves, tables, pictures and the record: all that a report needs.

    Args:
        folder: The output folder.
        evaluation: Of :func:`evaluate_saved`.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.

    Raises:
        OutputError: If it cannot be written.
    """
    prepare_folder(folder)
    remove(folder, OUTPUTS)
    record = RunRecord("evaluate", config, command_line=command_line)
    record.facts = _facts(evaluation)
    record.write(folder, status="running")
    write_tables(folder, evaluation.predictions)
    _copy_tables(folder, evaluation)
    _copy_pictures(folder, evaluation)
    write_json(folder / "curves.json", evaluation.curves)
    write_json(folder / "metrics.json", evaluation.metrics)
    record.write(folder, status="done")


def _facts(evaluation: Evaluation) -> dict[str, Any]:
    known = read_record(evaluation.saved.folder)
    taken = ("features", "head", "heads", "split", "funnel", "temperature", "duplicates", "slides")
    facts: dict[str, Any] = {key: known[key] for key in taken if key in known}
    facts["note"] = evaluation.metrics["note"]
    facts["external"] = evaluation.cohort is not None and not evaluation.saved.is_run
    facts["predictions"] = {
        "command": known.get("command", ""),
        "command_line": known.get("command_line", ""),
    }
    facts["labels"] = {
        "level": evaluation.metrics["label_level"],
        "classes": evaluation.metrics.get("classes", []),
    }
    if evaluation.joined is not None:
        facts["funnel"] = evaluation.joined.funnel
        facts["n_dropped"] = len(evaluation.joined.dropped)
    if facts["external"]:
        facts["duplicates"] = {
            "n": 0,
            "note": "these tiles were not compared with those of the training cohort",
        }
    return facts


def _copy_tables(folder: Path, evaluation: Evaluation) -> None:
    """Take over what failed, what was left out and what occurs twice: it counts here as well."""
    for name in _TAKEN_OVER:
        path = evaluation.saved.folder / name
        if path.is_file() and not path.is_symlink():
            write_bytes(folder / name, path.read_bytes())
    if evaluation.joined is not None:
        write_csv(folder / "dropped.csv", evaluation.joined.dropped)


def _copy_pictures(folder: Path, evaluation: Evaluation) -> None:
    """Take over the pictures of the tiles that were evaluated, under their labels of now."""
    path = evaluation.saved.folder / "pictures.csv"
    if not path.is_file():
        return
    table = _shown(evaluation, read_own(path, dtype=str, keep_default_na=False))
    table["file"] = [f"pictures/{Path(name).name}" for name in table["file"]]
    # The table may have been changed by hand: only plain files within pictures/ count.
    sources = {name: evaluation.saved.folder / name for name in sorted(set(table["file"]))}
    good = {name for name, at in sources.items() if at.is_file() and not at.is_symlink()}
    table = table[table["file"].isin(good)]
    if table.empty:
        return
    prepare_folder(folder / "pictures")
    for name in sorted(good):
        write_bytes(folder / name, sources[name].read_bytes())
    write_csv(folder / "pictures.csv", table)


def _shown(evaluation: Evaluation, table: pd.DataFrame) -> pd.DataFrame:
    side = next(iter(evaluation.metrics["splits"]))
    if side != "all" and not (table[SPLIT] == side).all():
        # A run keeps pictures of its test side only.
        return table.iloc[:0]
    if evaluation.joined is None:
        return table
    units = evaluation.joined.units
    key = TILE if TILE in units else SLIDE_ID
    labels = dict(zip(units[key].astype(str), units[LABEL].astype(str), strict=True))
    table = table[table[key].isin(labels)].copy()
    table[LABEL] = table[key].map(labels)
    if evaluation.saved.task == REGRESSION:
        # Neither right nor wrong: the lowest and the highest stay what they are.
        return table
    overviews = table["why"] == "overview"
    tiles = table[~overviews].drop_duplicates("file").assign(why="sample")
    prob = pd.to_numeric(tiles["prob"], errors="coerce")
    ordered = tiles.loc[prob.sort_values(ascending=False, kind="stable").index]
    right = ordered["predicted"] == ordered[LABEL]
    parts = [table[overviews], *(group.head(_SAMPLES) for _, group in tiles.groupby(LABEL))]
    for rows, why in ((ordered[right], "right"), (ordered[~right], "wrong")):
        parts += [group.head(_CONFIDENT).assign(why=why) for _, group in rows.groupby(LABEL)]
    return pd.concat(parts, ignore_index=True)
