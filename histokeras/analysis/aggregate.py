"""From tile predictions to slides and patients: mean probabilities and shares of tiles.

A patient is the pool of all tiles of all slides, not the mean of slide means: a scrap of tissue
counts as much as it has tiles. Slide rows carry means and ``n_tiles``, so that patients can be made
from them without the tiles, and a cohort need not be in memory.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.metrics import Floats, Ints, predicted_classes
from histokeras.errors import TableError
from histokeras.tables import require_columns, require_disjoint_patients
from histokeras.types import FOLD, LABEL, PATIENT_ID, PROB, SLIDE_ID, SPLIT

SHARE = "share_"
"""Prefix of the columns with the share of tiles in which a class comes first."""
N_TILES = "n_tiles"
N_SLIDES = "n_slides"
MIXED_LABELS = "mixed_labels"
"""True where the tiles carry more than one label; the label is then left empty."""

_FACTS = (SLIDE_ID, PATIENT_ID, SPLIT, FOLD, LABEL, MIXED_LABELS, N_TILES)

Texts = npt.NDArray[np.object_]


def class_names(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes that ``table`` has ``prob_<class>`` columns for, in their order.

    Raises:
        TableError: If there is no such column.
    """
    names = [str(name) for name in table.columns]
    classes = tuple(name.removeprefix(PROB) for name in names if name.startswith(PROB))
    if not classes:
        raise TableError(
            f"predictions lack `{PROB}<class>` columns; they have {names}.",
            code="COLUMN_MISSING",
            hint="Make them with `histokeras predict`.",
        )
    return classes


def score_matrix(
    table: pd.DataFrame, classes: Sequence[str], *, prefix: str = PROB, name: str = "predictions"
) -> Floats:
    """Return the columns ``<prefix><class>`` as one matrix.

    Args:
        table: Predictions or shares of tiles, slides or patients; text is read as numbers.
        classes: Names of the ``K`` classes.
        prefix: ``prob_`` or ``share_``.
        name: What to call the table in messages.

    Returns:
        Shape ``(n, K)``, float64, in 0..1.

    Raises:
        TableError: If a column is missing, or a value is no number in 0..1.
    """
    columns = [f"{prefix}{label}" for label in classes]
    require_columns(table, columns, name=name)
    matrix = np.empty((len(table), len(columns)))
    for k, column in enumerate(columns):
        matrix[:, k] = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
        # A little above 1 is the rounding of shares, not an error.
        wrong = ~((matrix[:, k] >= 0) & (matrix[:, k] <= 1 + 1e-6))
        if wrong.any():
            row = int(wrong.argmax())
            raise TableError(
                f"{name} hold `{column}` values that are no numbers in [0, 1]: {int(wrong.sum())} "
                f"row(s), first row {row + 1}. Received: {table[column].iloc[row]!r}.",
                code="PROBABILITY_INVALID",
                hint="Predict these slides again.",
            )
    return matrix


def text_column(table: pd.DataFrame, column: str) -> Texts:
    """Return a column as str, empty where a value is missing or the column is not there."""
    if column not in table.columns:
        return np.full(len(table), "", dtype=object)
    values = table[column].astype(object)
    texts: Texts = values.where(values.notna(), "").map(str).to_numpy(dtype=object)
    return texts


def slide_sums(tiles: pd.DataFrame, classes: Sequence[str] | None = None) -> pd.DataFrame:
    """Aggregate tile predictions to one row a slide.

    Args:
        tiles: Columns ``prob_<class>``, and any of ``slide_id patient_id label split fold``. The
            tiles of one slide or of many.
        classes: The classes; those of the ``prob_`` columns if None.

    Returns:
        Sorted by ids: ``slide_id patient_id split fold label mixed_labels n_tiles``, the mean
        ``prob_<class>``, and ``share_<class>``, the share of tiles in which the class has the
        largest probability (the first class where several are equal). Text is empty where it is
        unknown. ``label`` stands only where all labelled tiles carry the same. Tiles of one slide
        on two sides of a tile-level split make two rows; tiles of no known slide make a row with
        an empty ``slide_id``. The order of the rows of ``tiles`` changes no bit.

    Raises:
        TableError: If a column is missing, a probability is no number in 0..1, or the tiles of one
            slide belong to two patients.
    """
    classes = class_names(tiles) if classes is None else tuple(classes)
    # float32 is what networks give: tables from memory and from a file then agree to the last bit.
    probs = score_matrix(tiles, classes).astype(np.float32)
    parts = tile_parts(tiles)
    parts[[f"{PROB}{name}" for name in classes]] = probs.astype(np.float64)
    shares = np.eye(len(classes))[predicted_classes(probs)]
    parts[[f"{SHARE}{name}" for name in classes]] = shares
    return pool_slides(parts, _scores(classes))


def pooled_slides(
    parts: Sequence[pd.DataFrame], classes: Sequence[str] | None = None
) -> pd.DataFrame:
    """Join tables of :func:`slide_sums`; a slide whose tiles came in several parts is pooled.

    Args:
        parts: At least one table.
        classes: The classes; those of the first table if None.

    Returns:
        One table like those given, sorted by ids.

    Raises:
        TableError: If a column is missing, or one slide belongs to two patients.
    """
    classes = class_names(parts[0]) if classes is None else tuple(classes)
    return join_slides(parts, _scores(classes))


def join_slides(parts: Sequence[pd.DataFrame], scores: Sequence[str]) -> pd.DataFrame:
    """Join slide tables whose columns of numbers are ``scores``; see :func:`pooled_slides`."""
    for part in parts:
        require_columns(part, [*_FACTS, *scores], name="slide table")
    # Slides without a kept tile have no row; pandas warns of empty tables in a concat.
    filled = [part for part in parts if len(part)] or list(parts[:1])
    return pool_slides(pd.concat(filled, ignore_index=True), scores)


def patients_from_slides(
    slides: pd.DataFrame, classes: Sequence[str] | None = None
) -> pd.DataFrame:
    """Aggregate slides to patients: exactly the pool of all their tiles.

    Args:
        slides: Table of :func:`slide_sums`; rows without a ``patient_id`` are left out.
        classes: The classes; those of the ``prob_`` columns if None.

    Returns:
        Sorted by id: ``patient_id split fold label mixed_labels n_slides n_tiles prob_<class>
        share_<class>``; the means are weighted with ``n_tiles``. ``mixed_labels`` is True where
        slides or tiles carry more than one label, and ``label`` then is empty.

    Raises:
        TableError: If a column is missing.
        LeakageError: If a patient lies on two sides of the split.
    """
    classes = class_names(slides) if classes is None else tuple(classes)
    return pool_patients(slides, _scores(classes))


def pool_patients(slides: pd.DataFrame, scores: Sequence[str]) -> pd.DataFrame:
    """Aggregate slides, numbers in ``scores``, to patients; see :func:`patients_from_slides`."""
    require_columns(slides, [*_FACTS, *scores], name="slide table")
    known = slides[text_column(slides, PATIENT_ID) != ""]
    require_disjoint_patients(known.assign(**{SPLIT: text_column(known, SPLIT)}))
    patients, units = _pool(known, (PATIENT_ID, SPLIT, FOLD), scores)
    has_id = text_column(known, SLIDE_ID) != ""
    named = pd.DataFrame({"unit": units[has_id], SLIDE_ID: text_column(known, SLIDE_ID)[has_id]})
    n_slides = np.bincount(named.drop_duplicates()["unit"].to_numpy(), minlength=len(patients))
    patients.insert(list(patients.columns).index(N_TILES), N_SLIDES, n_slides.astype(np.int64))
    return patients


def _scores(classes: Sequence[str]) -> list[str]:
    return [f"{prefix}{name}" for prefix in (PROB, SHARE) for name in classes]


def tile_parts(tiles: pd.DataFrame) -> pd.DataFrame:
    """Return the ids and labels of tiles as rows to be pooled, each of one tile."""
    return _keys(tiles).assign(**{MIXED_LABELS: False, N_TILES: 1})


def _keys(table: pd.DataFrame) -> pd.DataFrame:
    columns = (SLIDE_ID, PATIENT_ID, SPLIT, FOLD, LABEL)
    return pd.DataFrame({name: text_column(table, name) for name in columns}, dtype=object)


def pool_slides(parts: pd.DataFrame, scores: Sequence[str]) -> pd.DataFrame:
    """Pool rows of one slide: the means of ``scores``, weighted with ``n_tiles``.

    Raises:
        TableError: If the rows of one slide belong to two patients.
    """
    slides, _ = _pool(parts, (SLIDE_ID, PATIENT_ID, SPLIT, FOLD), scores)
    pairs = slides.loc[slides[SLIDE_ID] != "", [SLIDE_ID, PATIENT_ID]].drop_duplicates()
    doubled = pairs.loc[pairs[SLIDE_ID].duplicated(keep=False)]
    if len(doubled):
        slide = doubled[SLIDE_ID].iloc[0]
        owners = sorted(doubled.loc[doubled[SLIDE_ID] == slide, PATIENT_ID])
        raise TableError(
            f"slide `{slide}` belongs to more than one patient. Received: patients {owners}.",
            code="SLIDE_OF_TWO_PATIENTS",
            hint="Correct `patient_id`, or give every patient's part a slide_id of its own.",
        )
    return slides


def _pool(
    parts: pd.DataFrame, keys: Sequence[str], scores: Sequence[str]
) -> tuple[pd.DataFrame, Ints]:
    """Pool rows with equal keys, weighted with ``n_tiles``; also return every row's unit."""
    texts = _keys(parts)
    units: Ints = texts.groupby(list(keys), sort=True).ngroup().to_numpy().astype(np.int64)
    _, first = np.unique(units, return_index=True)
    labels, mixed = _one_label(units, texts[LABEL].to_numpy(), len(first))
    part_mixed = parts[MIXED_LABELS].to_numpy(np.bool_)
    mixed |= np.bincount(units[part_mixed], minlength=len(first)) > 0
    labels[mixed] = ""
    weights = parts[N_TILES].to_numpy(np.int64)
    n_tiles = np.zeros(len(first), dtype=np.int64)
    np.add.at(n_tiles, units, weights)
    pooled = texts.iloc[first][list(keys)].reset_index(drop=True)
    pooled[LABEL] = labels
    pooled[MIXED_LABELS] = mixed
    pooled[N_TILES] = n_tiles
    order = np.argsort(units, kind="stable")
    ends = np.cumsum(np.bincount(units, minlength=len(first)))
    for column in scores:
        sums = _exact_sums((parts[column].to_numpy(np.float64) * weights)[order], ends)
        pooled[column] = sums / n_tiles
    return pooled, units


def _exact_sums(values: Floats, ends: Ints) -> Floats:
    """Sum consecutive stretches of ``values``, rounded once: the order within one is no matter."""
    begins = [0, *ends.tolist()][:-1]
    stretches = zip(begins, ends.tolist(), strict=True)
    return np.array([math.fsum(values[begin:end].tolist()) for begin, end in stretches])


def _one_label(units: Ints, labels: Texts, n_units: int) -> tuple[Texts, npt.NDArray[np.bool_]]:
    """Return each unit's only label, empty if it has none or several, and whether several."""
    known = labels != ""
    codes, names = pd.factorize(labels[known])
    pairs = np.unique(units[known] * max(len(names), 1) + codes)
    unit, code = np.divmod(pairs, max(len(names), 1))
    different = np.bincount(unit, minlength=n_units)
    only = np.full(n_units, "", dtype=object)
    alone = different[unit] == 1
    only[unit[alone]] = np.asarray(names, dtype=object)[code[alone]]
    return only, different > 1
