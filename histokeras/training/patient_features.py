"""One mean feature vector a patient, without TensorFlow; no more is held."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.cohort.join import join_labels
from histokeras.cohort.labels import read_cohort
from histokeras.cohort.pseudonyms import patients_by_slide
from histokeras.errors import ConfigError
from histokeras.features.index import FeatureIndex, index_features
from histokeras.features.store import read_rows
from histokeras.training.rows import TileRows, tile_rows
from histokeras.types import LABEL, PATIENT_ID, SPLIT

_RUN = 8192


def read_patient_features(
    folder: Path, patients: Sequence[str], *, slide_table: Path | None = None
) -> pd.DataFrame:
    """Read the mean feature vector of each patient, a part of a file at a time.

    Args:
        folder: Feature files.
        patients: Ids of the patients that are wanted.
        slide_table: Table with slide_id and patient_id, where the slides' names do not tell.

    Returns:
        ``patient_id`` and one number a feature, sorted by patient; patients without features are
        not in it.

    Raises:
        TableError: If no slide is of any of the patients.
        FeatureError: If the features do not belong together.
        ConfigError: If the patients of slides cannot be told.
    """
    index = index_features(folder)
    known = read_cohort(pd.DataFrame({PATIENT_ID: list(patients)}), target=None)
    known = replace(known, table=known.table.assign(**{LABEL: ""}))
    slides = patients_by_slide(slide_table, None, None)
    joined = join_labels(index.units(), known, slide_patients=slides)
    if joined.note:
        raise ConfigError(
            f"the patients of {folder.name} are not known ({joined.note}).",
            code="PATIENT_UNKNOWN",
            hint="Give --slide-table with the columns slide_id,patient_id.",
        )
    rows = tile_rows(index, joined.units.assign(**{SPLIT: ""}), {})
    names, means = patient_means(index, rows)
    return pd.DataFrame(means).set_axis(range(means.shape[1]), axis=1).assign(**{PATIENT_ID: names})


def patient_means(index: FeatureIndex, rows: TileRows) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Return the mean feature vector of each patient, reading a part of a file at a time.

    Args:
        index: The feature files.
        rows: Their tiles, at least one; each tile of a patient weighs the same.

    Returns:
        The patients, sorted, and their means, float64 ``(P, n_features)``.
    """
    of_unit = rows.units[PATIENT_ID].to_numpy(str)
    patients, numbers = np.unique(of_unit[rows.unit], return_inverse=True)
    sums = np.zeros((len(patients), index.n_features))
    for file, part in rows.of_files():
        mine, owners = rows.row[part], numbers[part]
        for start in range(0, len(mine), _RUN):
            wanted, owner = mine[start : start + _RUN], owners[start : start + _RUN]
            first = int(wanted[0])
            vectors = read_rows(index.paths[file], first, int(wanted[-1]) + 1)[wanted - first]
            for number in np.unique(owner):
                sums[number] += vectors[owner == number].sum(axis=0, dtype=np.float64)
    return patients.tolist(), sums / np.bincount(numbers)[:, np.newaxis]
