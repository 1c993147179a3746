"""Probe the features of a study for the site: one mean vector a patient, and no more, is held."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.site_probe import probe_sites
from histokeras.cohort.sites import known_sites
from histokeras.training.fit_job import Study
from histokeras.training.patient_features import patient_means
from histokeras.training.rows import TileRows
from histokeras.types import LABEL, PATIENT_ID, REGRESSION

_UNKNOWN = "the patients of slides or tiles are not known"


def probe_study(
    study: Study, rows: TileRows, *, n_resamples: int, seed: int
) -> dict[str, Any] | None:
    """Measure how well the features tell the site of a patient.

    All patients with features and label count, on whatever side: the probe has folds of its own.

    Args:
        study: Features, labels and split, joined.
        rows: The tiles that are used, each once.
        n_resamples: Resamples behind each interval.
        seed: Of folds and resamples.

    Returns:
        What :func:`~histokeras.analysis.site_probe.probe_sites` returns, with ``from``, the column
        that tells sites, or "barcode", and ``preserved``, whether no site lies in two folds; None
        where no site is known at all.
    """
    sites = known_sites(study.cohort, study.joined)
    if not sites.of_group:
        return None
    about = {"from": sites.source, "preserved": study.split.sites is not None}
    if study.joined.note:
        return {"computed": False, "reason": _UNKNOWN, **about}
    patients, means = patient_means(study.index, rows)
    labels = _labels(rows.units, patients, study.cohort.task)
    found = [sites.of_group.get(patient, "") for patient in patients]
    probe = probe_sites(means, found, labels, n_resamples=n_resamples, seed=seed)
    return {**probe, **about}


def _labels(units: pd.DataFrame, patients: Sequence[str], task: str) -> npt.NDArray[Any]:
    """Return the one label of each patient, "" where it has several; of numbers their mean."""
    of_patient = units[LABEL].groupby(units[PATIENT_ID])
    if task == REGRESSION:
        numbers = pd.to_numeric(units[LABEL]).groupby(units[PATIENT_ID]).mean()
        return numbers.reindex(list(patients)).to_numpy(np.float64)
    first = of_patient.first().where(of_patient.nunique() == 1, "")
    return first.reindex(list(patients)).to_numpy(object)
