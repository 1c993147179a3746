import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.lymph_nodes import NodeRules
from histokeras.analysis.lymph_patients import patient_table, stage_n
from histokeras.errors import TableError


def nodes_of(patient: str, *nodes: tuple[float, float, str]) -> pd.DataFrame:
    """Nodes as (area, tumour, size class), metastatic unless ITC or without tumour."""
    return pd.DataFrame(
        [
            {
                "patient_id": patient,
                "slide_id": f"{patient}_1",
                "node_area_mm2": area,
                "tumour_area_mm2": tumour,
                "ratio": tumour / area,
                "metastatic": size not in ("", "ITC"),
                "size_class": size,
            }
            for area, tumour, size in nodes
        ]
    )


def slides_of(*patients: str, outcome: str = "done") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"slide_id": f"{patient}_1", "patient_id": patient, "outcome": outcome}
            for patient in patients
        ]
    )


def row_of(nodes: pd.DataFrame, slides: pd.DataFrame, **more: Any) -> dict[str, Any]:
    (row,) = patient_table(nodes, slides, more.pop("rules", NodeRules()), **more).to_dict("records")
    return row


THREE = nodes_of("P1", (100.0, 50.0, "macro"), (1000.0, 5.0, "macro"), (500.0, 0.0, ""))


def test_ratios_of_three_nodes_are_those_counted_by_hand() -> None:
    row = row_of(THREE, slides_of("P1"))

    # (50 % + 0.5 %) / 2; 55 of 1100; (50 + 0.5 + 0) / 3; 55 of 1600.
    assert row["T_MLN_mean"] == pytest.approx(0.2525)
    assert row["T_MLN_pooled"] == pytest.approx(0.05)
    assert row["T_LN_mean"] == pytest.approx(0.505 / 3)
    assert round(100 * row["T_LN_mean"], 2) == 16.83
    assert row["T_LN_pooled"] == pytest.approx(0.034375)
    assert (row["n_nodes"], row["n_mln"], row["pN"]) == (3, 2, "pN1")
    assert (row["node_area_mm2"], row["tumour_area_mm2"]) == (1600, 55)


def test_stage_follows_the_number_of_positive_nodes() -> None:
    stages = [stage_n(n) for n in (0, 1, 2, 3, 6, 7, 15, 16, 40)]

    assert stages == ["pN0", "pN1", "pN1", "pN2", "pN2", "pN3a", "pN3a", "pN3b", "pN3b"]
    with pytest.raises(ValueError, match="n_positive=-1"):
        stage_n(-1)


def test_patient_without_metastasis_has_no_ratio_rather_than_zero() -> None:
    row = row_of(nodes_of("P1", (10.0, 0.0, "")), slides_of("P1"), cutoff=0.1)

    assert math.isnan(row["T_MLN_mean"])
    assert math.isnan(row["T_MLN_pooled"])
    assert (row["T_LN_mean"], row["T_LN_pooled"]) == (0, 0)
    assert (row["pN"], row["group"]) == ("pN0", "no metastasis")


def test_isolated_tumour_cells_leave_a_patient_negative() -> None:
    row = row_of(nodes_of("P1", (10.0, 0.02, "ITC"), (9.0, 0.0, "")), slides_of("P1"))

    assert (row["pN"], row["n_mln"], row["n_itc"]) == ("pN0", 0, 1)
    assert math.isnan(row["T_MLN_mean"])
    assert row["T_LN_mean"] == pytest.approx(0.001)
    assert "isolated tumour cells only" in row["flags"]


def test_patient_without_a_node_keeps_a_row_without_a_stage() -> None:
    table = patient_table(THREE, slides_of("P2", "P1"), NodeRules(), cutoff=0.3)

    assert table["patient_id"].tolist() == ["P1", "P2"]
    assert table["group"].tolist() == ["low", ""]
    empty = table.iloc[1]
    assert (empty["n_nodes"], empty["pN"], empty["flags"]) == (0, "", "no node found")
    assert np.isnan(empty[["T_MLN_mean", "T_LN_mean", "T_LN_pooled"]].astype(float)).all()


def test_patient_of_whom_no_slide_was_read_is_not_said_to_have_no_node() -> None:
    row = row_of(THREE.iloc[:0], slides_of("P1", outcome="failed"))

    assert row["flags"] == "incomplete: 1 of 1 slide(s) failed"


def test_fewer_than_sixteen_nodes_are_flagged() -> None:
    few = nodes_of("P1", *[(10.0, 0.0, "")] * 15)
    enough = nodes_of("P1", *[(10.0, 0.0, "")] * 16)

    assert row_of(few, slides_of("P1"))["flags"] == "fewer than 16 examined"
    assert row_of(enough, slides_of("P1"))["flags"] == ""


def test_flags_tell_what_else_is_uncertain() -> None:
    nodes = nodes_of("P1", (9.0, 2.0, "not resolved"), (9.0, 5.0, "macro"), (9.0, 0.02, "ITC"))
    slides = pd.concat([slides_of("P1"), slides_of("P1", outcome="failed")])

    row = row_of(nodes, slides)

    assert row["flags"].split("; ") == [
        "incomplete: 1 of 2 slide(s) failed",
        "fewer than 16 examined",
        "1 node(s) with isolated tumour cells, not counted",
        "1 node(s) of unresolved size, counted",
    ]
    assert (row["n_not_resolved"], row["n_mln"]) == (1, 2)


def test_cutoff_itself_is_low() -> None:
    nodes = nodes_of("P1", (8.0, 2.0, "macro"))

    assert row_of(nodes, slides_of("P1"), cutoff=0.25)["group"] == "low"
    assert row_of(nodes, slides_of("P1"), cutoff=0.24)["group"] == "high"
    with pytest.raises(ValueError, match="cutoff=25"):
        row_of(nodes, slides_of("P1"), cutoff=25)


def test_tables_without_their_columns_are_refused() -> None:
    with pytest.raises(TableError, match=r"nodes\.csv.*metastatic"):
        patient_table(THREE.drop(columns="metastatic"), slides_of("P1"), NodeRules())
