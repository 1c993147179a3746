"""Read the predictions of a run or of ``predict`` from disk, give them labels, evaluate them."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.collect import Predictions, collect_predictions, predicted_names
from histokeras.analysis.evaluate import evaluate_levels
from histokeras.analysis.units import EvaluationConfig
from histokeras.cohort.categories import CATEGORIES, category_values, patient_categories
from histokeras.cohort.grouping import Grouping, as_named, parse_grouping
from histokeras.cohort.join import Joined, join_labels
from histokeras.cohort.labels import Cohort, read_cohort
from histokeras.cohort.split_file import read_split
from histokeras.cohort.split_table import CLEAN
from histokeras.errors import ConfigError, LeakageError, TableError
from histokeras.files import safe_name
from histokeras.foreign.folders import require_no_links_out
from histokeras.models.catalog import STAIN_TEXTURE
from histokeras.runs.record import TRAINING, read_object, read_record, require_ended
from histokeras.tables import read_own, read_table, require_columns
from histokeras.types import (
    CLASSIFICATION,
    FOLD,
    LABEL,
    PATIENT_ID,
    PRED,
    PROB,
    REGRESSION,
    RISK,
    SLIDE_ID,
    SPLIT,
    TILE,
)

_EVALUATED = ("n_resamples", "seed", "specificity")
_KEYS = (SLIDE_ID, PATIENT_ID, LABEL, SPLIT, FOLD)


@dataclass(frozen=True)
class Saved:
    """Predictions on disk.

    Attributes:
        folder: The run folder, or the output of ``predict``.
        classes: Classes in the order of their columns; for regression the target.
        level: Where the labels stand; "" if there are none.
        positive: Of two classes the positive one, if the run named it.
        note: "" or why the run is not patient-safe.
        slides: One row a slide: ids, label and split as text, "" where unknown; None for
            ready-made tiles, whose tables hold them.
        is_run: Whether they are a run's own, with its sides of the split.
        is_floor: Whether the features are colour and texture themselves, without a network.
        evaluated: ``n_resamples``, ``seed`` and ``specificity`` that a run was evaluated with;
            empty for predictions.
        task: What was learned.
        group: Which classes of a table counted as one, and do so again; None for none.
    """

    folder: Path
    classes: tuple[str, ...]
    level: str
    positive: str | None
    note: str
    slides: pd.DataFrame | None
    is_run: bool
    is_floor: bool = False
    evaluated: Mapping[str, Any] = field(default_factory=dict)
    task: str = CLASSIFICATION
    group: Grouping | None = None

    def tables(self) -> Iterator[pd.DataFrame]:
        """Yield the tile table of each slide, with its ids, label and split."""
        if self.slides is None:
            yield from map(self._table, prediction_files(self.folder))
            return
        for row in self.slides.to_dict("records"):
            path = self.folder / "predictions" / f"{safe_name(row[SLIDE_ID])}.csv"
            if not path.is_file():
                raise TableError(
                    f"slides.csv names {row[SLIDE_ID]!r}, but {path.name} is missing.",
                    code="PREDICTIONS_MISSING",
                    hint="Predict anew.",
                )
            yield self._table(path).assign(**{str(key): value for key, value in row.items()})

    def collect(self) -> Predictions:
        """Aggregate the tiles; tumour types and sites are those in patients.csv of a run."""
        predictions = collect_predictions(
            self.tables(),
            classes=self.classes,
            keep_tiles=self.level == "tile",
            task=self.task,
        )
        return dataclasses.replace(predictions, categories=_categories(self.folder))

    def _table(self, path: Path) -> pd.DataFrame:
        """Return the tiles of a file with what they are compared with, as far as it is there."""
        table = _read(path)
        beside = self.folder / "reference" / path.name
        if not beside.is_file():
            return table
        other = read_own(beside, dtype=str, keep_default_na=False)
        keys = [name for name in (TILE, "minx", "miny") if name in other]
        scores = [name for name in other.columns if name not in keys]
        other = other.astype(dict.fromkeys(scores, "float32"))
        # Both were written in one order. Keys alone would not do: foreign features may lack places.
        same = len(other) == len(table) and other[keys].equals(table[keys])
        if not same:
            raise TableError(
                f"reference/{path.name} and predictions/{path.name} hold different tiles.",
                code="PREDICTIONS_MISSING",
                hint="Predict anew.",
            )
        return pd.concat([table, other[scores]], axis=1)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = read_own(path, dtype=str, keep_default_na=False)
        scores = [name for name in table.columns if name.startswith((PROB, PRED))]
        return table.astype(dict.fromkeys(scores, "float32"))
    except (OSError, ValueError) as error:
        raise TableError(
            f"predictions {path} cannot be read: {str(error)[:200]}.", hint="Predict anew."
        ) from error


def _categories(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / "patients.csv"
    if not path.is_file():
        return {}
    try:
        # Not as a table of others: NA is a site of TCGA.
        table = read_own(path, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise TableError(f"{path} cannot be read: {error}.", hint="Make the run anew.") from error
    require_columns(table, (PATIENT_ID,), name=str(path))
    found = {name: table[name].tolist() for name in CATEGORIES if name in table}
    return patient_categories(table[PATIENT_ID], found)


def prediction_files(folder: Path) -> list[Path]:
    """List the tile predictions of a run, sorted.

    Raises:
        TableError: If there are none.
    """
    files = sorted(folder.glob("predictions/[!.]*.csv"))
    if not files:
        raise TableError(
            f"no predictions in {folder}.",
            code="PREDICTIONS_MISSING",
            hint="Name a folder that `histokeras fit-head` or `histokeras predict` wrote.",
        )
    return files


def open_saved(folder: Path) -> Saved:
    """Open the predictions of a run or of ``predict``.

    Args:
        folder: What ``-o`` was given.

    Raises:
        FeatureError: If the command that writes them has not finished (RUN_UNFINISHED).
        TableError: If there are none.
        ConfigError: If they are risks of survival.
    """
    require_no_links_out(folder)
    record = read_record(folder)
    require_ended(folder, record)
    first = _read(prediction_files(folder)[0])
    if RISK in first:
        raise ConfigError(
            f"{folder} holds risks of survival, which this command does not know.",
            hint="Their figures stand in metrics.json and report.html.",
        )
    task, classes = predicted_names(first)
    written = read_object(folder / "metrics.json")
    group = record.get("labels", {}).get("group") or record.get("group")
    slides = None
    if TILE not in first:
        table = read_table(folder / "slides.csv", name="slides.csv")
        require_columns(table, (SLIDE_ID,), name=str(folder / "slides.csv"))
        slides = table[[name for name in _KEYS if name in table]]
    return Saved(
        folder,
        classes,
        record.get("labels", {}).get("level", ""),
        written.get("positive") or record.get("positive"),
        record.get("note", ""),
        slides,
        record.get("command") in TRAINING,
        record.get("features", {}).get("settings", {}).get("backbone") == STAIN_TEXTURE.name,
        {name: written[name] for name in _EVALUATED if name in written},
        task,
        parse_grouping(group) if group else None,
    )


def relabelled(
    saved: Saved,
    labels: Path | pd.DataFrame,
    *,
    target: str,
    slide_patients: Mapping[str, str] | None = None,
    patients_unknown: bool = False,
    strict: bool = False,
) -> tuple[Predictions, Cohort, Joined]:
    """Give predictions the labels of a table; what it does not label is left out.

    Args:
        saved: The predictions.
        labels: The table.
        target: Its column.
        slide_patients: slide_id to patient_id.
        patients_unknown: Accept slides or tiles without patients.
        strict: Refuse rows without a label.

    Returns:
        Aggregated predictions; the labels; what was joined. Those of a run keep its sides; those
        of ``predict`` have none, and who was in the training data of their run is left out.

    Raises:
        TableError: If nothing fits, or a label is none of the classes (or no number).
        LeakageError: If all that is labelled was in the training data.
    """
    # A table of another place may lack a class, hold the groups already, or call NOR NORM.
    group = None if saved.task == REGRESSION else saved.group or as_named(saved.classes)
    cohort = read_cohort(
        labels, target=target, task=saved.task, strict=strict, group=group, complete=False
    )
    keys = [SLIDE_ID, TILE, PATIENT_ID]
    if saved.slides is None:
        units = pd.concat([_known(table, keys) for table in saved.tables()], ignore_index=True)
    else:
        units = _known(saved.slides, keys)
    joined = join_labels(
        units, cohort, slide_patients=slide_patients, patients_unknown=patients_unknown
    )
    categories = patient_categories(joined.units[PATIENT_ID], category_values(cohort, joined))
    if not saved.is_run:
        joined = _unseen(saved.folder, joined)
    key = TILE if saved.slides is None else SLIDE_ID
    found = joined.units.set_index(key)[[PATIENT_ID, LABEL]]
    if joined.note:
        found = found.assign(**{PATIENT_ID: ""})

    def tables() -> Iterator[pd.DataFrame]:
        for table in saved.tables():
            rows = table[table[key].isin(found.index)]
            if len(rows):
                given = found.loc[rows[key]]
                yield rows.assign(
                    patient_id=given[PATIENT_ID].to_numpy(), label=given[LABEL].to_numpy()
                )

    predictions = collect_predictions(
        tables(), classes=saved.classes, keep_tiles=cohort.level == "tile", task=saved.task
    )
    return dataclasses.replace(predictions, categories=categories), cohort, joined


def _unseen(folder: Path, joined: Joined) -> Joined:
    """Leave out the units whose patients the run was trained or early-stopped on."""
    path = folder / "split.csv"
    split = read_split(path) if path.is_file() else None
    if split is None or split.unit not in joined.units:
        return joined
    ids = split.table[split.unit]
    # With cross-validation every patient was in the training data of some of the heads.
    seen = set(ids) if split.folds else {k for k, side in split.sides().items() if side != "test"}
    names = [CLEAN[split.unit](str(name)) for name in joined.units[split.unit]]
    known = np.array([name in seen for name in names], bool)
    if known.all():
        raise LeakageError(
            f"all {len(known)} labelled slides or tiles are of patients that the run was trained "
            "on.",
            hint="`histokeras evaluate RUN` gives the figures of the run's own test patients.",
        )
    lost = pd.DataFrame({"kind": split.unit.removesuffix("_id"), "id": sorted(
        {name for name, is_known in zip(names, known, strict=True) if is_known}
    ), "reason": "in the training data of the run"})  # fmt: skip
    units = joined.units[~known].reset_index(drop=True)
    funnel = {**joined.funnel, "used": units[PATIENT_ID].nunique()}
    # pandas warns of empty tables in a concat.
    parts = [table for table in (joined.dropped, lost) if len(table)]
    dropped = pd.concat(parts, ignore_index=True) if parts else joined.dropped
    return dataclasses.replace(joined, units=units, funnel=funnel, dropped=dropped)


def _known(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return table[[name for name in names if name in table]]


def figures(
    predictions: Predictions,
    level: str,
    *,
    positive: str | None,
    note: str,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """Return the figures at the labels' level and above, with what the reader must know of them.

    Args:
        predictions: Slides, patients and, for tile labels, tiles.
        level: Where the labels stand.
        positive: Of two classes the positive one.
        note: "" or why the split is not patient-safe.
        config: Resamples, seed, splits.
    """
    metrics = evaluate_levels(predictions, level, positive=positive, config=config)
    return {"note": note, "patient_safe": not note, **metrics}
