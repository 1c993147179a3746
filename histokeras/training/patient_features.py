"""One mean feature vector a patient, of the patients of a table."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from histokeras.cohort.join import join_labels
from histokeras.cohort.labels import read_cohort
from histokeras.cohort.pseudonyms import patients_by_slide
from histokeras.errors import ConfigError
from histokeras.features.index import index_features
from histokeras.training.rows import tile_rows
from histokeras.training.site_probe import patient_means
from histokeras.types import LABEL, PATIENT_ID, SPLIT


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
