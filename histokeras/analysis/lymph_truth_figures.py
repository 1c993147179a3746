"""How well lymph nodes, the tumour inside them, T/MLN and pN were found: figures with intervals."""

from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.bootstrap import (
    ALPHA,
    FEW_PATIENTS,
    N_RESAMPLES,
    Estimate,
    Figures,
    join_figures,
    patient_bootstrap,
)
from histokeras.analysis.lymph_match import FOUND
from histokeras.analysis.lymph_truth_tables import NOT_STAGED, OUTCOMES
from histokeras.analysis.metrics import Floats, Ints
from histokeras.analysis.segmentation_figures import mean_figures
from histokeras.types import PATIENT_ID

LYMPH_NODES = "lymph nodes"
STAGES = ("pN0", "pN1", "pN2", "pN3a", "pN3b", NOT_STAGED)
AREA_WITHIN = 0.05
"""A node's area is right if it differs from the true one by no more than this share."""
RATIO_WITHIN = 0.02
"""T/MLN is right if it differs by no more than this, as a fraction: two points."""
_ROUNDING = 1e-12


def evaluate_nodes(
    patients: pd.DataFrame,
    nodes: pd.DataFrame,
    *,
    unit: str = "patient",
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute the figures of patients.csv and nodes.csv, with patient-bootstrap intervals.

    Args:
        patients: Of :func:`~histokeras.analysis.lymph_truth_tables.patient_truth_table`, at least
            one row, sorted by id.
        nodes: One row a true or wrongly found node, with ``patient_id``.
        unit: What a row of ``patients`` is: ``patient``, or ``slide`` where patients are unknown.
        n_resamples: Resamples behind every interval, at least 1.
        seed: Seed of the draws: the same for all figures.

    Returns:
        metrics.json, plain values: ``task n_patients n_slides n_nodes_true n_nodes resampled_by
        n_resamples seed alpha has_tumour``; ``counts`` (what became of nodes); ``figures`` ->
        figure -> Estimate, ``n`` (patients or nodes) and ``n_behind`` (patients): means over
        patients of ``node_dice node_iou node_area_error`` (absolute, by the true area),
        ``right_n_nodes`` and ``invented_per_patient``, over true nodes of ``found`` and
        ``area_within_5_percent``
        (a node that was not found has no right area). Where tumour was drawn also, of patients,
        ``tumour_dice tile_auc T_MLN_mean_error T_MLN_pooled_error`` (absolute, as fractions; of
        patients with metastasis on both sides), ``T_MLN_mean_bias`` (found - true),
        ``T_MLN_within_2_points`` (of patients with metastasis on either side) and ``right_n_mln
        right_pN``; of true nodes ``metastasis_sensitivity`` (metastatic ones that were found and
        called so) and ``metastasis_specificity`` (of those found that are free of it); ``pN`` ->
        ``stages``, ``confusion`` (rows: the truth); ``metastasis`` -> how many patients have it on
        both sides, in truth alone, in what was found alone, on none.
    """
    has_tumour = "right_pN" in patients
    values, of_nodes, owner = _of_patients(patients), *_of_nodes(patients, nodes, has_tumour)
    n_patients = len(patients)
    parts: list[Figures] = [mean_figures(values, np.arange(n_patients), n_patients)]
    if len(owner):
        parts.append(mean_figures(of_nodes, owner, n_patients))
    units = values | of_nodes
    estimates = patient_bootstrap(
        join_figures(*parts), n_resamples=n_resamples, seed=seed, unit=unit
    )
    metrics: dict[str, Any] = {
        "task": LYMPH_NODES,
        "n_patients": n_patients,
        "n_slides": int(patients["n_slides"].sum()),
        "n_nodes_true": int(patients["n_nodes_true"].sum()),
        "n_nodes": int(patients["n_nodes"].sum()),
        "resampled_by": unit,
        "n_resamples": n_resamples,
        "seed": seed,
        "alpha": ALPHA,
        "has_tumour": has_tumour,
        "counts": {name[2:]: int(patients[name].sum()) for name in OUTCOMES},
        "figures": {
            name: _estimate(estimate, units[name], owner if name in of_nodes else None, unit)
            for name, estimate in estimates.items()
        },
    }
    if has_tumour:
        metrics["pN"] = {"stages": list(STAGES), "confusion": _confusion(patients)}
        metrics["metastasis"] = _metastasis(patients)
    return metrics


def _estimate(estimate: Estimate, values: Floats, owner: Ints | None, unit: str) -> dict[str, Any]:
    """Return an estimate with the numbers behind it; of one patient alone there is no interval."""
    defined = np.isfinite(values)
    n_behind = len(np.unique(owner[defined])) if owner is not None else int(defined.sum())
    found = estimate.as_json() | {"n": int(defined.sum()), "n_behind": n_behind}
    found["note"] = ""
    if n_behind < FEW_PATIENTS:
        found["note"] = f"fewer than {FEW_PATIENTS} {unit}s behind it: interval not reliable"
    if n_behind == 1:
        found |= {"low": None, "high": None, "note": f"one {unit} behind it: no interval"}
    return found


def _of_patients(patients: pd.DataFrame) -> dict[str, Floats]:
    def column(name: str) -> Floats:
        return patients[name].to_numpy(np.float64)

    values = {name: column(name) for name in ("node_dice", "node_iou")}
    values["node_area_error"] = np.abs(column("node_area_error"))
    values["right_n_nodes"] = column("right_n_nodes")
    values["invented_per_patient"] = column("n_invented")
    if "right_pN" not in patients:
        return values
    values["tumour_dice"] = column("tumour_dice")
    if "tile_auc" in patients:
        values["tile_auc"] = column("tile_auc")
    for name in ("T_MLN_mean", "T_MLN_pooled"):
        values[f"{name}_error"] = np.abs(column(f"{name}_error"))
    values["T_MLN_mean_bias"] = column("T_MLN_mean_error")
    close = values["T_MLN_mean_error"] <= RATIO_WITHIN + _ROUNDING
    either = (column("n_mln") > 0) | (column("n_mln_true") > 0)
    values["T_MLN_within_2_points"] = np.where(either, close, np.nan)
    for name in ("right_n_mln", "right_pN"):
        values[name] = column(name)
    return values


def _of_nodes(
    patients: pd.DataFrame, nodes: pd.DataFrame, has_tumour: bool
) -> tuple[dict[str, Floats], Any]:
    """Return the figures of true nodes and the number of the patient of each."""
    true = nodes[nodes["true_node"] > 0]
    number = {patient: at for at, patient in enumerate(patients[PATIENT_ID].astype(str))}
    owner = true[PATIENT_ID].astype(str).map(number).to_numpy(np.int64)
    found = (true["outcome"] == FOUND).to_numpy()
    area, true_area = (true[f"node_area_mm2{of}"].to_numpy(np.float64) for of in ("", "_true"))
    close = np.abs(area - true_area) <= AREA_WITHIN * true_area + _ROUNDING
    values = {"found": found.astype(np.float64)}
    values["area_within_5_percent"] = (found & close).astype(np.float64)
    if has_tumour:
        is_true = true["metastatic_true"].to_numpy(np.bool_)
        # Of a node that was not found nothing was said.
        is_said = found & true["metastatic"].eq(True).to_numpy()
        values["metastasis_sensitivity"] = np.where(is_true, is_said, np.nan)
        values["metastasis_specificity"] = np.where(~is_true & found, ~is_said, np.nan)
    return values, owner


def _confusion(patients: pd.DataFrame) -> list[list[int]]:
    table = pd.crosstab(
        patients["pN_true"].replace("", NOT_STAGED), patients["pN"].replace("", NOT_STAGED)
    )
    return [
        [int(cell) for cell in row]
        for row in table.reindex(index=STAGES, columns=STAGES, fill_value=0).to_numpy()
    ]


def _metastasis(patients: pd.DataFrame) -> dict[str, int]:
    true, said = patients["n_mln_true"] > 0, patients["n_mln"] > 0
    return {
        "both": int((true & said).sum()),
        "true_only": int((true & ~said).sum()),
        "found_only": int((~true & said).sum()),
        "none": int((~true & ~said).sum()),
    }
