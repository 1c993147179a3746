"""Write slides.csv and patients.csv."""

from pathlib import Path

import numpy as np

from histokeras.analysis.collect import Predictions
from histokeras.files import write_csv
from histokeras.types import CLASSIFICATION, FOLD, PATIENT_ID, PROB


def write_tables(folder: Path, predictions: Predictions) -> None:
    """Write ``slides.csv`` and ``patients.csv``, each with the class of the highest mean, if any.

    Patients also bear their tumour type and site, as far as they are known.

    Args:
        folder: The run folder.
        predictions: Slides and patients.
    """
    for name, table in (("slides", predictions.slides), ("patients", predictions.patients)):
        # Without cross-validation there are no folds to tell.
        known = table if (table[FOLD] != "").any() else table.drop(columns=FOLD)
        if predictions.task == CLASSIFICATION:
            scores = table[[f"{PROB}{label}" for label in predictions.classes]].to_numpy()
            predicted = np.asarray(predictions.classes, object)[scores.argmax(axis=1)]
            known = known.assign(predicted=predicted)
        if name == "patients":
            ids = table[PATIENT_ID].astype(str)
            columns = {
                category: [of_patient.get(patient, "") for patient in ids]
                for category, of_patient in predictions.categories.items()
            }
            known = known.assign(**columns)
        write_csv(folder / f"{name}.csv", known)
