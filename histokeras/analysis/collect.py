"""Gather predictions slide by slide into what the evaluation needs, and no more."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.aggregate import (
    SHARE,
    Texts,
    class_names,
    join_slides,
    pool_patients,
    score_matrix,
    slide_sums,
    text_column,
)
from histokeras.analysis.aggregate_numbers import number_matrix, predicted_target, slide_means
from histokeras.analysis.baselines import BASELINES, RAW
from histokeras.analysis.metrics import Floats, Ints
from histokeras.analysis.number_baselines import NUMBER_BASELINES
from histokeras.cohort.numbers import label_numbers
from histokeras.errors import TableError
from histokeras.tables import require_columns
from histokeras.types import (
    ATTENTION,
    CLASSIFICATION,
    FOLD,
    LABEL,
    PATIENT_ID,
    PRED,
    PROB,
    REGRESSION,
    SLIDE_ID,
    SPLIT,
    TILE,
)

_KEYS = (SLIDE_ID, TILE, PATIENT_ID, LABEL, SPLIT, FOLD)


@dataclass(frozen=True, eq=False)
class TileScores:
    """Tiles as arrays: 8 bytes and 4 a class for every tile.

    Attributes:
        targets: Class numbers, shape ``(n,)``, integer; -1 where a tile has no label. For
            regression numbers, float64, NaN where there is none.
        probs: Shape ``(n, K)``, float32, in 0..1; for regression ``(n, 1)``, predicted numbers.
        patients: Patient numbers in the order of their ids, shape ``(n,)``, integer; -1 where the
            patient is unknown; None where all are.
        folds: Number of the test fold of each, shape ``(n,)``; -1 without cross-validation.
    """

    targets: npt.NDArray[Any]
    probs: npt.NDArray[np.float32]
    patients: npt.NDArray[np.integer] | None
    folds: npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Predictions:
    """All predictions of a cohort.

    Attributes:
        classes: Names of the ``K`` classes, in the order of the columns; for regression the target.
        slides: Table of :func:`~histokeras.analysis.aggregate.slide_sums` over all slides.
        patients: Table of :func:`~histokeras.analysis.aggregate.patients_from_slides`; no row
            where no patient is known.
        tiles: Split -> its tiles; empty unless they were asked for. The split of tables without a
            ``split`` is ``""``.
        others: What the same tiles got otherwise, in the same order of rows: ``raw`` (before
            temperature scaling) and the baselines, as far as the tables hold them.
        task: Whether ``classes`` have probabilities, or the target a predicted number.
        categories: ``tumour_type`` and ``site``, as far as they are known -> patient_id -> value,
            "" where unknown.
        of_bags: Whether every tile bears what the bag that it is in got as a whole. Shares of
            tiles then mean nothing: they are left out.
    """

    classes: tuple[str, ...]
    slides: pd.DataFrame
    patients: pd.DataFrame
    tiles: Mapping[str, TileScores]
    others: Mapping[str, "Predictions"] = field(default_factory=dict)
    task: str = CLASSIFICATION
    categories: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    of_bags: bool = False


@dataclass
class _TileCollector:
    """Arrays of every split, and numbers for patients in order of appearance."""

    classes: tuple[str, ...]
    task: str
    seen: dict[str, int] = field(default_factory=dict)
    parts: dict[str, list[tuple[npt.NDArray[Any], npt.NDArray[np.float32], Ints, Ints]]] = field(
        default_factory=dict
    )

    def add(self, table: pd.DataFrame) -> None:
        kind = KINDS[self.task]
        targets = kind.targets(text_column(table, LABEL), self.classes)
        probs = kind.matrix(table, self.classes).astype(np.float32)
        names, inverse = np.unique(text_column(table, PATIENT_ID).astype(str), return_inverse=True)
        numbers = [self.seen.setdefault(str(name), len(self.seen)) for name in names]
        patients = np.array(numbers, dtype=np.int32)[inverse]
        splits = text_column(table, SPLIT)
        folds = fold_numbers(table)
        for split in sorted(set(splits)):
            rows = splits == split
            part = (targets[rows], probs[rows], patients[rows], folds[rows])
            self.parts.setdefault(split, []).append(part)

    def finish(self) -> dict[str, TileScores]:
        """Join the parts; patients are numbered anew, in the order of their ids."""
        rank = np.empty(len(self.seen), dtype=np.int32)
        for number, name in enumerate(sorted(self.seen)):
            rank[self.seen[name]] = number
        # The empty name sorts first: it stands for "unknown" and becomes -1.
        rank -= int("" in self.seen)
        joined = {}
        for split in sorted(self.parts):
            targets, probs, patients, folds = zip(*self.parts.pop(split), strict=True)
            codes = rank[np.concatenate(patients)]
            joined[split] = TileScores(
                np.concatenate(targets),
                np.concatenate(probs),
                codes if (codes >= 0).any() else None,
                np.concatenate(folds),
            )
        return joined


class _Collector:
    """Aggregates the tables of one kind of probabilities as they come."""

    def __init__(self, classes: tuple[str, ...], task: str, *, keep_tiles: bool) -> None:
        self._classes, self._task = classes, task
        self._sums: list[pd.DataFrame] = []
        self._tiles = _TileCollector(classes, task) if keep_tiles else None

    def add(self, table: pd.DataFrame) -> None:
        self._sums.append(KINDS[self._task].sums(table, self._classes))
        if self._tiles is not None:
            self._tiles.add(table)

    def finish(self) -> Predictions:
        pooled = KINDS[self._task].pooled
        columns = [f"{prefix}{name}" for prefix in pooled for name in self._classes]
        slides = join_slides(self._sums, columns)
        patients = pool_patients(slides, columns)
        tiles = self._tiles.finish() if self._tiles else {}
        return Predictions(self._classes, slides, patients, tiles, task=self._task)


def fold_numbers(table: pd.DataFrame) -> Ints:
    """Return the test fold of each row, int64; -1 where there is none."""
    texts = text_column(table, FOLD)
    return np.array([int(text) if text else -1 for text in texts], dtype=np.int64)


def class_numbers(labels: Texts, classes: Sequence[str]) -> Ints:
    """Return the class number of every label, -1 where it is empty.

    Raises:
        TableError: If a label is none of ``classes``.
    """
    names, inverse = np.unique(labels.astype(str), return_inverse=True)
    unknown = sorted({str(name) for name in names} - {*classes, ""})
    if unknown:
        raise TableError(
            f"label(s) {unknown} are none of the classes {list(classes)}.",
            code="CLASS_MISMATCH",
            hint="Rename them in the label table, or leave these rows out.",
        )
    numbers = [classes.index(str(name)) if name else -1 for name in names]
    return np.array(numbers, dtype=np.int64)[inverse]


def _class_targets(labels: Texts, classes: Sequence[str]) -> npt.NDArray[Any]:
    return class_numbers(labels, classes).astype(np.int32)


def _number_targets(labels: Texts, classes: Sequence[str]) -> npt.NDArray[Any]:
    return np.array(label_numbers(labels.tolist()), np.float64)


@dataclass(frozen=True)
class Kind:
    """How tables of one task are read.

    Attributes:
        prefix: Of the columns that a head gives.
        pooled: Prefixes of all columns of slides and patients that are pooled.
        others: Prefixes of what else the tiles may have got.
        targets: From labels to targets.
        matrix: From a table to its scores, ``(n, K)``.
        sums: From a tile table to slides.
    """

    prefix: str
    pooled: tuple[str, ...]
    others: tuple[str, ...]
    targets: Callable[[Texts, Sequence[str]], npt.NDArray[Any]]
    matrix: Callable[..., Floats]
    sums: Callable[[pd.DataFrame, Sequence[str]], pd.DataFrame]


KINDS = {
    CLASSIFICATION: Kind(
        PROB, (PROB, SHARE), (RAW, *BASELINES), _class_targets, score_matrix, slide_sums
    ),
    REGRESSION: Kind(
        PRED,
        (PRED,),
        NUMBER_BASELINES,
        _number_targets,
        number_matrix,
        slide_means,
    ),
}


def predicted_names(table: pd.DataFrame) -> tuple[str, tuple[str, ...]]:
    """Return the task of a table of predictions, and its classes or its target.

    Raises:
        TableError: If it has neither ``prob_<class>`` nor ``pred_<target>`` columns.
    """
    target = predicted_target(table)
    # Probabilities are named by other tools too; a lone number is ours.
    if target and not any(str(name).startswith(PROB) for name in table.columns):
        return REGRESSION, (target,)
    return CLASSIFICATION, class_names(table)


def collect_predictions(
    tables: Iterable[pd.DataFrame],
    *,
    classes: Sequence[str] | None = None,
    keep_tiles: bool = False,
    task: str = CLASSIFICATION,
) -> Predictions:
    """Aggregate tile predictions table by table.

    Args:
        tables: Tile predictions, for example one table a slide: columns ``prob_<class>``, and any
            of ``slide_id patient_id label split fold``, and of ``raw_<class>`` and
            ``<baseline>_<class>``; ``attention`` tells of bags. Only one is held at a time.
        classes: The classes; those of the first table if None.
        keep_tiles: Also keep the tiles as arrays: needed where labels stand at the tile level.
        task: ``regression``: columns ``pred_<target>``, and ``classes`` holds the target alone.

    Returns:
        Slides, patients and, if asked for, tiles; ``others`` for the prefixes of the first table.

    Raises:
        TableError: If there is no table, a column is missing, a probability is no number in 0..1,
            a label is none of the classes, or a slide belongs to two patients.
        LeakageError: If a patient lies on two sides of the split.
    """
    collectors: dict[str, _Collector] = {}
    for table in tables:
        if classes is None:
            task, classes = predicted_names(table)
        kind = KINDS[task]
        if not collectors:
            names = ["", *(name for name in kind.others if f"{name}_{classes[0]}" in table)]
            for name in names:
                collectors[name] = _Collector(tuple(classes), task, keep_tiles=keep_tiles)
        for name, collector in collectors.items():
            collector.add(_as_own(table, name, classes, kind.prefix) if name else table)
    if not collectors:
        raise TableError(
            "there are no predictions.", code="TABLE_EMPTY", hint="Run `histokeras predict` first."
        )
    found = {name: collector.finish() for name, collector in collectors.items()}
    own = dataclasses.replace(found.pop(""), others=found)
    return _of_bags(own) if ATTENTION in table else own


def _of_bags(own: Predictions) -> Predictions:
    shares = [f"{SHARE}{name}" for name in own.classes]
    slides, patients = own.slides.drop(columns=shares), own.patients.drop(columns=shares)
    return dataclasses.replace(own, slides=slides, patients=patients, of_bags=True)


def _as_own(table: pd.DataFrame, name: str, classes: Sequence[str], prefix: str) -> pd.DataFrame:
    """Return the ids of a table with the columns ``<name>_<class>`` as if a head had given them."""
    columns = {f"{name}_{label}": f"{prefix}{label}" for label in classes}
    require_columns(table, columns, name="predictions")
    ids = [key for key in _KEYS if key in table]
    return table[[*ids, *columns]].rename(columns=columns)
