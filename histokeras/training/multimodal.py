"""Clinical columns as a second input of a head of survival, learned from training patients."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from histokeras.analysis.clinical_terms import ClinicalColumn, learn_columns, terms_of
from histokeras.analysis.compare import CLINICAL
from histokeras.analysis.metrics import Bools, Floats
from histokeras.analysis.risk_baselines import RiskBaselines
from histokeras.errors import TableError


@dataclass(frozen=True, eq=False)
class ClinicalPart:
    """What a head sees of patients beside their tiles.

    Attributes:
        columns: As learned from training patients.
        x: Their terms, ``(P, K)``.
        start: Log hazard ratio of a standard deviation of each in the ridge Cox model of the
            columns alone, from which the head goes on, ``(K,)``.
    """

    columns: tuple[ClinicalColumn, ...]
    x: Floats
    start: Floats

    def of(self, wanted: Bools) -> "ClinicalPart":
        """Return that of some of the patients."""
        return replace(self, x=self.x[wanted])


def clinical_part(
    clinical: Mapping[str, "pd.Series[Any]"],
    ids: Iterable[str],
    train: Bools,
    baselines: RiskBaselines,
) -> ClinicalPart:
    """Return the clinical input of the patients of a fold.

    Args:
        clinical: Name of the column -> values with patients as index.
        ids: The patients, ``(P,)``.
        train: Who of them is a training patient, ``(P,)``.
        baselines: Of the same training patients; holds the model of the columns alone.

    Raises:
        TableError: CLINICAL_UNFIT if no column differs between training patients.
    """
    model = baselines.models.get(CLINICAL)
    if model is None:
        raise TableError(
            f"the clinical columns ({', '.join(clinical)}) are the same for all training patients.",
            code="CLINICAL_UNFIT",
            hint="Name others with `--clinical-columns`, or leave out `--with-clinical`.",
        )
    ids = list(ids)
    values = of_patients(clinical, ids)
    columns = learn_columns(values, train)
    _, x = terms_of(columns, values, len(ids))
    return ClinicalPart(columns, x, model.coef)


def of_patients(
    clinical: Mapping[str, "pd.Series[Any]"], ids: Iterable[str]
) -> dict[str, "pd.Series[Any]"]:
    """Return clinical columns in the order of patients."""
    wanted = list(ids)
    return {name: values.loc[wanted].reset_index(drop=True) for name, values in clinical.items()}
