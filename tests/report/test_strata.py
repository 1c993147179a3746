import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from histokeras.report.page import write_report
from histokeras.report.run_files import read_run
from histokeras.report.strata import strata_table
from histokeras.report.text import DASH
from tests.report.conftest import estimate

Change = Callable[..., None]
PATIENTS = ("splits", "test", "patient")


def part(n: int, auc: float | None, note: str = "") -> dict[str, Any]:
    return {
        "n": n, "n_patients": n, "n_per_class": {"MSI-H": n - 4, "MSS": 4},
        "auc": estimate(auc, n=n, note=note), "balanced_accuracy": estimate(auc, n=n, note=note),
        "note": note,
    }  # fmt: skip


@pytest.fixture
def grouped_run(patient_run: Path, change: Change) -> Path:
    """Three types of 38 of 40 patients, one of them with one class; sites left out."""
    metrics = patient_run / "metrics.json"
    types = {
        "colon": part(20, 0.91),
        "a <b>": part(14, 0.7),
        "ovary": part(4, None, "class MSS alone: not defined"),
    }
    change(metrics, *PATIENTS, "by", value={"tumour_type": types})
    reason = "212 values, more than 50"
    change(metrics, *PATIENTS, "by_left_out", value={"site": reason})
    return patient_run


def test_the_page_has_a_row_for_each_type_sorted_and_one_for_all(grouped_run: Path) -> None:
    text = write_report(grouped_run).read_text(encoding="utf-8")

    table = text[text.index("Within each tumour type, patient level, test side</span>") :]
    rows = re.findall(r"<tr>(.*?)</tr>", table[: table.index("</table>")], flags=re.DOTALL)
    cells = [[html.unescape(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t", r)] for r in rows]
    assert cells == [
        ["Tumour type", "Patients", "MSI-H", "MSS", "AUC (MSI-H)", "Balanced accuracy", "Mind"],
        ["a <b>", "14", "10", "4", *["0.700 [0.640, 0.760]"] * 2, ""],
        ["colon", "20", "16", "4", *["0.910 [0.850, 0.970]"] * 2, ""],
        ["ovary", "4", "0", "4", DASH, DASH, "class MSS alone: not defined"],
        ["All patients", "40", "20", "20", "0.933 [0.873, 0.993]", "0.863 [0.803, 0.923]", ""],
    ]
    shown = html.unescape(text)
    assert "Intervals of a single tumour type are wide" in shown
    assert "3 were looked at, and no interval is corrected for that" in shown
    assert "Only in the last row: 2 patients without one known tumour type." in shown
    assert "No figures within each site: 212 values, more than 50." in shown


def test_forty_rows_are_the_largest_and_classes_beyond_four_have_no_column(
    grouped_run: Path, change: Change
) -> None:
    metrics = grouped_run / "metrics.json"
    types = {f"T{i:02d}": part(5 + (i >= 5), 0.8) for i in range(45)}
    change(metrics, *PATIENTS, "by", value={"tumour_type": types})
    change(metrics, "classes", value=list("abcde"))

    table = strata_table(read_run(grouped_run), "tumour_type")

    assert table is not None
    assert [row[0] for row in table.rows] == [*(f"T{i:02d}" for i in range(5, 45)), "All patients"]
    assert table.notes[2] == "The 40 largest of 45; all of them are in metrics.json."
    assert list(table.head) == ["Tumour type", "Patients", "AUC (MSI-H)", "Balanced accuracy"]


def test_runs_from_before_have_no_table_and_tiles_tell_their_patients(
    patient_run: Path, tile_run: Path, change: Change
) -> None:
    assert strata_table(read_run(patient_run), "tumour_type") is None
    assert "Within groups" not in write_report(patient_run).read_text(encoding="utf-8")
    sites = {"north": {"n": 70, "n_patients": 7, "note": ""}, "south": {"n": 50, "n_patients": 6}}
    change(tile_run / "metrics.json", "splits", "test", "tile", "by", value={"site": sites})

    table = strata_table(read_run(tile_run), "site")

    assert table is not None
    assert list(table.head[:3]) == ["Site", "Patients", "Tiles"]
    assert [row[:3] for row in table.rows] == [
        ["north", "7", "70"], ["south", "6", "50"], ["All tiles", "40", "120"],
    ]  # fmt: skip


def test_numbers_have_spearman_and_their_error(patient_run: Path) -> None:
    path = patient_run / "metrics.json"
    metrics = json.loads(path.read_text())
    of = {"n": 20, "n_patients": 20, "spearman": estimate(0.5), "mae": estimate(0.25, 0.125),
          "note": ""}  # fmt: skip
    level = {"evaluated": True, "n": 40, "aggregations": {"mean_prediction": of},
             "by": {"site": {"north": of, "south": of}}}  # fmt: skip
    metrics |= {"task": "regression", "target": "age", "splits": {"test": {"patient": level}}}
    del metrics["classes"], metrics["positive"]
    path.write_text(json.dumps(metrics))

    table = strata_table(read_run(patient_run), "site")

    assert table is not None
    assert list(table.head) == ["Site", "Patients", "Spearman", "Mean absolute error"]
    assert table.rows[0] == ["north", "20", "0.500 [0.440, 0.560]", "0.25 [0.125, 0.375]"]
    assert "Where Spearman is lower in most rows" in table.notes[0]
