import html
import re
from pathlib import Path

import pandas as pd
import pytest

from histokeras.analysis.lymph_truth_figures import evaluate_nodes
from histokeras.errors import FeatureError
from histokeras.files import prepare_folder, write_csv, write_json
from histokeras.report.lymph_truth_page import is_truth_folder, told_truth
from histokeras.report.page import write_report

HOSTILE = "<script>alert(1)</script>"


def _folder(folder: Path, *, tumour: bool = True) -> Path:
    """Write what evaluate leaves of three patients: one right, one with a node too many, pN0."""
    patients = pd.DataFrame({
        "patient_id": ["P1", f"P2{HOSTILE}", "P3"], "n_slides": 1, "n_found": [2, 1, 1],
        "n_missed": [0, 0, 1], "n_merged": 0, "n_split": 0, "n_invented": [0, 1, 0],
        "node_dice": [1.0, 0.8, 0.9], "node_iou": [1.0, 0.7, 0.8],
        "node_area_error": [0.0, 0.5, -0.1], "n_nodes_true": [2, 1, 2], "n_nodes": [2, 2, 1],
        "right_n_nodes": [True, False, False], "flags": "",
    })  # fmt: skip
    if tumour:
        patients = patients.assign(
            tumour_dice=[1.0, 0.5, float("nan")], n_mln_true=[1, 2, 0], n_mln=[1, 3, 0],
            T_MLN_mean_true=[0.25, 0.2, None], T_MLN_mean=[0.25, 0.3, None],
            T_MLN_mean_error=[0.0, 0.1, None], T_MLN_pooled_error=[0.0, 0.2, None],
            pN_true=["pN1", "pN1", "pN0"], pN=["pN1", "pN2", "pN0"],
            right_n_mln=[True, False, True], right_pN=[True, False, True],
        )  # fmt: skip
    nodes = pd.DataFrame({
        "patient_id": ["P1", "P1", f"P2{HOSTILE}"], "true_node": [1, 2, 1], "outcome": "found",
        "node_area_mm2_true": 4.0, "node_area_mm2": 4.1, "metastatic_true": [True, False, True],
        "metastatic": [True, False, True],
    })  # fmt: skip
    slides = pd.DataFrame({
        "slide_id": ["S1", "S2", "S3"], "patient_id": patients["patient_id"], "outcome": "done",
        "n_nodes_true": [2, 1, 2], "n_nodes": [2, 2, 1], "node_dice": [1.0, 0.8, 0.9],
    })  # fmt: skip
    metrics = evaluate_nodes(patients, nodes, n_resamples=20)
    metrics |= {"side": "test", "made_by": {"nodes": "segmenter"}, "left_out": {"S9": "too blue"}}
    prepare_folder(folder)
    for name, table in (("patients", patients), ("nodes", nodes), ("slides", slides)):
        write_csv(folder / f"{name}.csv", table)
    write_json(folder / "metrics.json", metrics)
    write_json(
        folder / "run.json",
        {"command": "evaluate", "task": metrics["task"], "status": "done", "settings": {}},
    )
    return folder


def test_the_page_tells_figures_and_who_went_wrong(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "ev")

    text = write_report(folder).read_text(encoding="utf-8")

    assert HOSTILE not in text
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())
    assert "4 of 5 drawn lymph nodes found; T/MLN off by 5.0 points" in words
    assert "pN right in 2 of 3 patients." in words
    # The patient whose stage is wrong stands first, though another comes first in the table.
    rows = re.findall(r'<th scope="row">(P\d)', text)
    assert rows[0] == "P2"
    assert "2 (1) 3 (2) pN2 (pN1) 30.0 % (20.0 %) 0.800" in words
    assert re.search(r"pN1 0 0 % 1 50 % 1 50 %", words)
    assert "1 patient without metastasis, true or found, cannot be drawn." in words
    assert "S9 too blue" in words
    assert (folder / "report" / "scatter.csv").is_file()


def test_without_drawn_tumour_there_is_nothing_of_stages(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "ev", tumour=False)

    text = write_report(folder).read_text(encoding="utf-8")

    assert "No tumour is drawn in any file" in text
    assert "True pN" not in text
    assert "<figure" not in text


def test_a_study_tells_of_it_and_damage_is_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "ev")

    says, tables = told_truth(folder)

    assert is_truth_folder(folder)
    assert "pN right in 2 of 3 patients" in says
    assert [table.caption for table in tables] == [
        "Means over patients",
        "Shares of the drawn nodes",
    ]
    write_json(folder / "metrics.json", {"task": "something else"})
    with pytest.raises(FeatureError, match="damaged"):
        write_report(folder)
