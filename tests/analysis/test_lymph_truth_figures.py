from typing import Any

import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.lymph_truth_figures import STAGES, evaluate_nodes
from histokeras.analysis.lymph_truth_text import format_node_metrics


def patient(name: str, **changed: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "patient_id": name, "n_slides": 1, "n_found": 1, "n_missed": 0, "n_merged": 0,
        "n_split": 0, "n_invented": 0, "node_dice": 0.9, "node_iou": 0.8, "tumour_dice": 0.7,
        "tile_auc": 0.9, "n_nodes": 1, "n_nodes_true": 1, "n_mln": 1, "n_mln_true": 1,
        "node_area_error": 0.02, "right_n_nodes": True, "right_n_mln": True, "right_pN": True,
        "T_MLN_mean_error": 0.01, "T_MLN_pooled_error": 0.01, "pN": "pN1", "pN_true": "pN1",
    }  # fmt: skip
    return row | changed


PATIENTS = pd.DataFrame(
    [
        patient("A", node_dice=1.0, T_MLN_mean_error=-0.02, node_area_error=-0.1),
        patient("B", tile_auc=0.7, T_MLN_mean_error=0.05, n_invented=2, right_n_nodes=False),
        patient(
            "C", n_mln=0, right_n_mln=False, right_pN=False, pN="pN0", tile_auc=np.nan,
            T_MLN_mean_error=np.nan, T_MLN_pooled_error=np.nan,
        ),
        patient(
            "D", n_mln=0, n_mln_true=0, pN="", pN_true="pN0", right_pN=False, n_nodes=0,
            T_MLN_mean_error=np.nan, T_MLN_pooled_error=np.nan, tumour_dice=np.nan,
        ),
    ]
)  # fmt: skip
NODES = pd.DataFrame(
    [
        ("A", 1, 1, "found", 1.0, 0.95, True, True),
        ("A", 2, 0, "missed", 1.0, np.nan, True, np.nan),
        ("A", 3, 2, "found", 1.0, 1.06, False, False),
        ("B", 1, 1, "found", 1.0, 1.00, False, True),
        ("B", 0, 2, "invented", np.nan, 1.0, np.nan, True),
        ("C", 1, 1, "found", 1.0, 1.00, True, False),
        ("D", 1, 0, "missed", 1.0, np.nan, False, np.nan),
    ],
    columns=[
        "patient_id", "true_node", "node_id", "outcome", "node_area_mm2_true", "node_area_mm2",
        "metastatic_true", "metastatic",
    ],
)  # fmt: skip


def metrics(patients: pd.DataFrame = PATIENTS, nodes: pd.DataFrame = NODES) -> dict[str, Any]:
    return evaluate_nodes(patients, nodes, n_resamples=100)


@pytest.mark.parametrize(
    ("name", "value", "n"),
    [
        ("node_dice", 3.7 / 4, 4),
        ("node_area_error", 0.16 / 4, 4),
        ("tumour_dice", 0.7, 3),
        ("tile_auc", 2.5 / 3, 3),
        ("T_MLN_mean_error", 0.035, 2),
        ("T_MLN_mean_bias", 0.015, 2),
        # A is two points off, B five; of C metastasis was drawn alone; D has none at all.
        ("T_MLN_within_2_points", 1 / 3, 3),
        ("right_n_nodes", 3 / 4, 4),
        ("right_pN", 2 / 4, 4),
        ("invented_per_patient", 0.5, 4),
        ("found", 4 / 6, 6),
        ("area_within_5_percent", 3 / 6, 6),
        ("metastasis_sensitivity", 1 / 3, 3),
        ("metastasis_specificity", 1 / 2, 2),
    ],
)
def test_figures_are_those_counted_by_hand(name: str, value: float, n: int) -> None:
    found = metrics()["figures"][name]

    assert found["value"] == pytest.approx(value)
    assert found["n"] == n


def test_intervals_resample_patients() -> None:
    found = metrics()["figures"]["right_pN"]
    same = metrics(pd.DataFrame([patient(name) for name in "ABCD"]))["figures"]["node_dice"]

    assert (found["low"], found["high"]) == (0, 1)
    assert (same["low"], same["high"]) == (pytest.approx(0.9), pytest.approx(0.9))
    assert found["n_patients"] == 4


def test_one_patient_has_no_interval_and_few_are_told() -> None:
    found = metrics(PATIENTS.iloc[:2], NODES[NODES["patient_id"].isin(["A", "B"])])
    lone = found["figures"]["metastasis_sensitivity"]
    text = format_node_metrics(found | {"side": "all", "left_out": {}, "made_by": {}})

    # Both metastatic nodes are of A.
    assert (lone["n"], lone["n_behind"], lone["low"]) == (2, 1, None)
    assert lone["note"] == "one patient behind it: no interval"
    assert text.count("fewer than 5 patients behind all figures") == 1


def test_stages_and_metastases_are_counted() -> None:
    found = metrics()

    cells = {
        (true, said): count
        for true, row in zip(STAGES, found["pN"]["confusion"], strict=True)
        for said, count in zip(STAGES, row, strict=True)
        if count
    }
    assert cells == {("pN1", "pN1"): 2, ("pN1", "pN0"): 1, ("pN0", "pNX"): 1}
    assert found["metastasis"] == {"both": 2, "true_only": 1, "found_only": 0, "none": 1}
    assert found["counts"] == {"found": 4, "missed": 0, "merged": 0, "split": 0, "invented": 2}


def test_without_drawn_tumour_nothing_is_said_of_it() -> None:
    known = [name for name in PATIENTS if not name.startswith(("T_", "right_pN", "right_n_mln"))]

    found = metrics(PATIENTS[known].drop(columns=["tumour_dice", "tile_auc"]))
    text = format_node_metrics(found | {"side": "all", "left_out": {}, "made_by": {}})

    assert "tile_auc" not in found["figures"]
    assert "pN" not in found
    assert "no tumour is drawn" in text


def test_patients_of_whom_no_node_was_drawn_have_no_figures_of_nodes() -> None:
    found = metrics(pd.DataFrame([patient("A", node_dice=np.nan)]), NODES.iloc[:0])

    assert "found" not in found["figures"]
    assert found["figures"]["node_dice"]["value"] is None


def test_text_shows_figures_and_what_was_left_out() -> None:
    more = {
        "side": "test",
        "left_out": {"S1": "no drawn truth"},
        "made_by": {"nodes": "segmenter", "tumour": "drawn"},
    }

    lines = format_node_metrics(metrics() | more).splitlines()

    assert lines[0] == "test: 4 patients, 4 slides, 4 drawn lymph nodes"
    assert any("T/MLN mean, absolute error" in line and "3.5 points" in line for line in lines)
    assert any(line.split() == ["pN1", "1", "2", "0"] for line in lines)
    assert "  note: left out, no drawn truth: 1 slide" in lines
    assert any("tumour of this folder" in line for line in lines)
