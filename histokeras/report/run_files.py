"""A run folder in memory: what ``fit-head`` or ``evaluate -o`` wrote, as far as it is there."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.errors import FeatureError, TableError
from histokeras.files import safe_name
from histokeras.foreign.folders import require_no_links_out
from histokeras.report.text import at, clean, listed
from histokeras.runs.record import TRAINING, read_object, read_record
from histokeras.tables import read_own
from histokeras.types import (
    CLASSIFICATION,
    LABEL,
    LEVELS,
    PRED,
    REGRESSION,
    SLIDE_ID,
    SPLIT,
    SURVIVAL,
)

_TABLES = ("patients", "slides", "dropped", "failures", "duplicates", "pictures")
_SPLITS = ("test", "all", "val", "train")
_MAIN = ("mean_probability", "probability", "mean_prediction", "prediction")
_MOST_TILES = 200_000


@dataclass(frozen=True, eq=False)
class RunFiles:
    """What a run folder holds; texts without control characters.

    Attributes:
        folder: The run folder.
        record: run.json.
        metrics: metrics.json.
        curves: curves.json; {} if there is none.
        tables: Name (patients, slides, dropped, failures, duplicates, pictures) -> table, all text;
            an empty table for a file that is not there.
        histories: Training curves, one a fold, numbers; empty if there are none.
        temperature_notes: Why heads were left without temperature scaling, each reason once.
        missing: Files that such a folder always holds, and this one does not.
    """

    folder: Path
    record: Mapping[str, Any]
    metrics: Mapping[str, Any]
    curves: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    histories: Sequence[pd.DataFrame]
    temperature_notes: Sequence[str] = ()
    missing: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Name of the folder."""
        return str(clean(self.folder.resolve().name))

    @property
    def task(self) -> str:
        """What was learned: ``classification``, ``regression`` or ``survival``."""
        return str(self.metrics.get("task") or CLASSIFICATION)

    @property
    def classes(self) -> list[str]:
        """Classes in the order of all matrices; none for regression."""
        return [str(name) for name in self.metrics.get("classes") or []]

    @property
    def positive(self) -> str | None:
        """The positive one of two classes, if named."""
        return self.metrics.get("positive")

    @property
    def split(self) -> str:
        """The part whose figures count: test, or all of an external cohort."""
        splits = at(self.metrics, "splits") or {}
        return next((name for name in _SPLITS if name in splits), next(iter(splits), ""))

    @property
    def levels(self) -> dict[str, Mapping[str, Any]]:
        """Evaluated levels of that part, patients first."""
        found = at(self.metrics, "splits", self.split) or {}
        return {level: found[level] for level in reversed(LEVELS) if at(found, level, "evaluated")}

    @property
    def level(self) -> str:
        """The level that the verdict speaks of: patients, else slides, else tiles; "" for none."""
        return next(iter(self.levels), "")

    @property
    def main(self) -> Mapping[str, Any]:
        """The figures of that level; {} if none was evaluated."""
        return self.levels.get(self.level, {})

    @property
    def figures(self) -> Mapping[str, Any]:
        """The main aggregation of that level: AUC and all else."""
        return main_aggregation(self.main)

    @property
    def target(self) -> str:
        """Name of the label column; "" if unknown, or if it is just called label.

        For regression its name in any case: columns are called after it.
        """
        if self.task in (REGRESSION, SURVIVAL):
            return str(self.metrics.get("target") or LABEL)
        found = str(at(self.record, "config", "target") or "")
        return "" if found.casefold() == LABEL else found

    @property
    def head(self) -> Mapping[str, Any]:
        """How the head was trained: its kind, rate, patience; {} if unknown."""
        options = self.record.get("head") or at(self.record, "inputs", "head options")
        return options if isinstance(options, Mapping) else {}

    def note(self) -> str:
        """Return why the figures are not patient-safe, "" if they are."""
        for source in (self.metrics, self.record):
            if source.get("note"):
                return str(source["note"])
        return "not patient-safe" if self.metrics.get("patient_safe") is False else ""

    def scores(self) -> pd.DataFrame:
        """Return label and ``prob_<class>`` of every unit of the main level, as far as known.

        Returns:
            Columns ``label`` (str) and ``prob_<class>`` (float64); empty if the files do not tell.
        """
        names = [f"prob_{name}" for name in self.classes]
        table = self._units(names)
        table = table[table[LABEL].isin(self.classes)]
        numbers = table[names].apply(pd.to_numeric, errors="coerce")
        scores: pd.DataFrame = pd.concat([table[LABEL], numbers], axis=1)
        return scores.dropna().reset_index(drop=True)

    def numbers(self) -> pd.DataFrame:
        """Return the true and the predicted number of every unit of the main level.

        Returns:
            Columns ``true`` and ``predicted`` (float64); empty if the files do not tell.
        """
        name = f"{PRED}{self.target}"
        table = self._units([name])
        columns = {"true": table[LABEL], "predicted": table[name]}
        numbers: pd.DataFrame = pd.DataFrame(columns).apply(pd.to_numeric, errors="coerce")
        known: pd.DataFrame = numbers.dropna().reset_index(drop=True)
        return known

    def _units(self, names: Sequence[str]) -> pd.DataFrame:
        """Return the tested units of the main level; no row if a column is missing."""
        table = (
            self._predictions()
            if self.level == "tile"
            else self.tables[f"{self.level or 'slide'}s"]
        )
        if not len(table) or not {LABEL, *names} <= set(table):
            return pd.DataFrame(columns=[LABEL, *names])
        if SPLIT in table and self.split != "all":
            table = table[table[SPLIT] == self.split]
        return table

    def _predictions(self) -> pd.DataFrame:
        """Read the tiles of all slides, each with its label and side, up to a limit."""
        slides, parts, n_rows = self.tables["slides"], [], 0
        facts = slides.set_index(slides[SLIDE_ID].map(safe_name)) if SLIDE_ID in slides else slides
        for path in sorted(self.folder.glob("predictions/[!.]*.csv")):
            table = _read_table(path)
            for name in (LABEL, SPLIT):
                if name not in table and name in facts and path.stem in facts.index:
                    table[name] = str(facts.loc[path.stem, name])
            parts.append(table)
            n_rows += len(table)
            if n_rows > _MOST_TILES:
                break
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def main_aggregation(level: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the figures of a level's mean probabilities, else of what comes first; {} if none."""
    aggregations: Mapping[str, Any] = at(level, "aggregations") or {}
    name = next((key for key in _MAIN if key in aggregations), next(iter(aggregations), ""))
    return aggregations.get(name) or {}


def read_run(folder: Path) -> RunFiles:
    """Read a run folder; all but run.json and metrics.json may be missing.

    Args:
        folder: What ``fit-head -o`` or ``evaluate -o`` was given.

    Raises:
        FeatureError: If it is no run folder (RUN_MISSING), the run did not end (RUN_UNFINISHED), or
            a file of it is damaged (RECORD_DAMAGED).
        TableError: If a table of it cannot be read.
    """
    require_no_links_out(folder)
    record = clean(read_record(folder))
    _require_figures(folder, record)
    if not record and not (folder / "metrics.json").is_file():
        raise FeatureError(
            f"{folder} is no run folder: it holds no run.json.",
            code="RUN_MISSING",
            hint="Name a folder that `histokeras fit-head` or `histokeras evaluate -o` wrote.",
        )
    if not (folder / "metrics.json").is_file():
        raise FeatureError(
            f"{folder} holds no metrics.json: the run did not end "
            f"(status {record.get('status', 'unknown')!r}).",
            code="RUN_UNFINISHED",
            hint="Run the same command again to finish it.",
        )
    metrics = clean(read_object(folder / "metrics.json"))
    if not isinstance(metrics.get("splits"), dict):
        raise FeatureError(
            f"{folder / 'metrics.json'} is damaged: it holds no figures.",
            code="RECORD_DAMAGED",
            hint="Make the run anew.",
        )
    return RunFiles(
        folder,
        record,
        metrics,
        clean(read_object(folder / "curves.json")),
        {name: _read_table(folder / f"{name}.csv") for name in _TABLES},
        read_histories(folder),
        _temperature_notes(folder),
        _missing(folder, record),
    )


def _require_figures(folder: Path, record: Mapping[str, Any]) -> None:
    """Say of folders of other commands what they are, and what to do."""
    hints = {
        "predict": f"`histokeras evaluate {folder} --labels TABLE -o OUT` writes a report.",
        "extract-features": f"`histokeras fit-head {folder} --labels TABLE -o RUN` writes one.",
        "tiles": "Its page is tiles.html.",
        "sample-tiles": "Its tiles lie in images/, a row each in tiles.csv.",
        "segment": "Its figures stand in areas.csv and patients.csv, its pictures are "
        "*.overlay.jpg.",
        "cluster": "Its page is report.html; it is compared with no run.",
        "lymph-nodes": "`histokeras report` of it alone writes its pages; it is compared with no "
        "run.",
        "fit-segmenter": "`histokeras report` of it alone writes its page; segmentations "
        "are not compared with each other.",
    }
    command = str(record.get("command", ""))
    if command in hints:
        raise FeatureError(
            f"{folder} holds the output of {command}, not a run of a head.",
            code="RUN_MISSING",
            hint=hints[command],
        )


def _missing(folder: Path, record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the files that such a folder always holds, and this one has lost."""
    wanted = ["run.json", "curves.json", "patients.csv", "slides.csv"]
    if record.get("command") in TRAINING:
        wanted += ["split.csv", "dropped.csv", "duplicates.csv"]
    return tuple(name for name in wanted if not (folder / name).is_file())


def _temperature_notes(folder: Path) -> list[str]:
    """Return why heads were left as they were, each reason once, with its folds."""
    cards = {"": folder / "head" / "model.json"}
    paths = sorted(folder.glob("folds/*/head/model.json"), key=lambda path: _fold(path.parent))
    cards |= {str(_fold(path.parent)): path for path in paths}
    reasons: dict[str, list[str]] = {}
    for fold, card in cards.items():
        note = clean(read_object(card)).get("temperature_note")
        if note:
            reasons.setdefault(str(note), []).append(fold)
    return [
        f"fold {listed(folds)}: {note}" if all(folds) else note for note, folds in reasons.items()
    ]


def _fold(path: Path) -> int:
    digits = re.sub(r"\D", "", path.parent.name)
    return int(digits) if digits else 0


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file() or not path.stat().st_size:
        return pd.DataFrame()
    try:
        table = read_own(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise TableError(
            f"{path} cannot be read: {error}.",
            hint="Remove its folder and make it anew.",
        ) from error
    table.columns = pd.Index([clean(str(name)) for name in table.columns])
    return table.map(clean)


def read_histories(folder: Path) -> list[pd.DataFrame]:
    """Return the training curves of a run, one table a fold; empty if there are none."""
    paths = [folder / "history.csv", *sorted(folder.glob("folds/*/history.csv"), key=_fold)]
    tables = [_read_table(path) for path in paths]
    return [
        table.assign(best=table["best"].str.lower() == "true") if "best" in table else table
        for table in map(_as_numbers, tables)
        if len(table) and "epoch" in table
    ]


def _as_numbers(table: pd.DataFrame) -> pd.DataFrame:
    numbers = {
        name: pd.to_numeric(table[name], errors="coerce") for name in table if name != "best"
    }
    return table.assign(**{str(name): column for name, column in numbers.items()})
