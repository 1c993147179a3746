import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from histokeras.cohort.synthetic import write_mark
from histokeras.cohort.synthetic_nodes import (
    DIFFICULTIES,
    HAZARD_RATIO,
    NodeCohortSpec,
    difficulties_of,
    node_mark_of,
    node_slides,
    sample_node_patients,
    time_and_event,
    write_node_truth,
)
from histokeras.cohort.synthetic_nodes_tables import (
    size_class_of,
    write_node_slide_tables,
    write_node_truth_tables,
)
from histokeras.slides.synthetic.node_places import place_nodes, place_outside

# The fat around them is most of such slides.
TINY = NodeCohortSpec(n_patients=4, diameters_mm=(0.3, 0.5))


def test_the_same_seed_gives_the_same_slides_and_another_seed_others() -> None:
    spec = NodeCohortSpec(n_patients=4)

    assert node_slides(spec) == node_slides(NodeCohortSpec(n_patients=4))
    assert node_slides(spec) != node_slides(NodeCohortSpec(n_patients=4, seed=1))


def test_difficulties_are_dealt_in_their_shares_and_reach_the_slides() -> None:
    spec = NodeCohortSpec(n_patients=20, seed=3)
    patients, slides = sample_node_patients(spec), node_slides(spec)
    found = difficulties_of(slides)

    assert (~patients["metastasis"]).sum() == 5
    for name, share in DIFFICULTIES.items():
        among = 15 if name == "annular" else 20
        assert patients[name].sum() == round(share * among)
        # Necrosis needs a large deposit, which not every slide has.
        assert 0 < found[name] <= patients[name].sum()
        assert name == "annular" or found[name] == patients[name].sum()
    assert set(patients["site"].value_counts()) == {5}
    mark = node_mark_of(spec)
    assert mark["slides_with"] == found
    assert mark["shares_of_patients"]["touching"] == 0.5


def test_nodes_and_deposits_have_sizes_in_range_and_fit() -> None:
    spec = NodeCohortSpec(n_patients=30, seed=1)
    slides = node_slides(spec)
    patients = sample_node_patients(spec).set_index("patient_id")
    nodes = [node for slide in slides.values() for node in slide.nodes]
    deposits = np.array([size for node in nodes for size in node.deposits_mm])

    for slide in slides.values():
        assert len(place_nodes(slide)) == len(slide.nodes) <= 4
        assert len(place_outside(slide)) == len(slide.outside_mm)
    assert min(node.diameter_mm for node in nodes) >= 1.5
    assert max(node.diameter_mm for node in nodes) <= 7.01
    assert 0.1 <= deposits.min() < 0.2
    assert 2 < deposits.max() <= 5
    with_tumour = {
        name.rpartition("_")[0]
        for name, slide in slides.items()
        if any(node.deposits_mm for node in slide.nodes)
    }
    assert with_tumour == set(patients.index[patients["metastasis"]])
    sides = np.array([slide.size_px for slide in slides.values()]) / 2000
    assert np.median(sides, axis=0).max() < 8


def test_the_planted_hazard_is_in_the_times() -> None:
    patients = sample_node_patients(NodeCohortSpec(n_patients=8000))
    half = patients.index < 4000
    t_mln = pd.Series(np.where(half, 0.4, 0.0))

    time, event = time_and_event(patients, t_mln)

    # Deaths per month of follow-up: of exponential times the estimate of the hazard.
    rates = [event[part].sum() / time[part].sum() for part in (half, ~half)]
    assert rates[0] / rates[1] == pytest.approx(HAZARD_RATIO**4, rel=0.1)
    assert time.gt(0).all()
    assert set(event) == {0, 1}


def test_tables_say_what_is_true_of_the_slides(tmp_path: Path) -> None:
    slides = node_slides(TINY)
    write_mark(tmp_path, node_mark_of(TINY))
    for name, slide in slides.items():
        write_node_truth(tmp_path, name, slide)
    write_node_slide_tables(tmp_path, TINY)
    write_node_truth_tables(tmp_path, TINY)

    nodes = pd.read_csv(tmp_path / "nodes_truth.csv", keep_default_na=False)
    patients = pd.read_csv(tmp_path / "patients_truth.csv").set_index("patient_id")
    labels = pd.read_csv(tmp_path / "labels.csv").set_index("patient_id")
    pairs = pd.read_csv(tmp_path / "pairs.csv")
    assert pairs["slide_id"].tolist() == list(slides)
    assert all((tmp_path / mask).is_file() for mask in pairs["mask"])
    drawn = json.loads((tmp_path / "annotations" / f"{next(iter(slides))}.geojson").read_text())
    assert drawn == json.loads((tmp_path / pairs["mask"][0]).read_text())
    first = nodes[nodes["slide_id"] == pairs["slide_id"][0]]
    assert len(first) == len(slides[pairs["slide_id"][0]].nodes)
    assert first["node_id"].tolist() == list(range(1, len(first) + 1))
    # Centres of gravity lie within the boxes, which are in level-0 pixels of 0.5 um.
    x = first["centroid_x_mm"] * 2000
    assert ((x > first["x"]) & (x < first["x"] + first["width"])).all()
    for name, own in nodes.groupby("patient_id"):
        mln = own[own["metastatic"]]
        row = patients.loc[name]
        assert row["n_mln"] == len(mln)
        assert row["tumour_area_mm2"] == pytest.approx(own["tumour_area_mm2"].sum())
        if len(mln):
            assert row["T_MLN_mean"] == pytest.approx(np.mean(mln["ratio"]))
            pooled = mln["tumour_area_mm2"].sum() / mln["node_area_mm2"].sum()
            assert row["T_MLN_pooled"] == pytest.approx(pooled)
            assert labels.loc[name, "N"] in ("N1", "N2", "N3")
            assert labels.loc[name, "label"] == "metastasis"
        else:
            assert np.isnan(row["T_MLN_mean"])
            assert (row["pN"], labels.loc[name, "N"]) == ("pN0", "N0")
    assert patients["n_mln"].gt(0).any()
    before = (tmp_path / pairs["mask"][0]).stat().st_mtime_ns
    write_node_truth(tmp_path, next(iter(slides)), next(iter(slides.values())))
    assert (tmp_path / pairs["mask"][0]).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("tumour_mm2", "largest_mm", "expected"),
    [(0.0, 0.0, ""), (0.01, 0.19, "ITC"), (0.03, 0.2, "micro"), (3.2, 2.0, "macro")],
)
def test_the_largest_deposit_gives_the_class(
    tumour_mm2: float, largest_mm: float, expected: str
) -> None:
    assert size_class_of(tumour_mm2, largest_mm) == expected


def test_impossible_cohorts_are_refused() -> None:
    with pytest.raises(ValueError, match="`n_patients` must be at least 4"):
        NodeCohortSpec(n_patients=3)
    with pytest.raises(ValueError, match=r"`diameters_mm` are the least and the greatest"):
        NodeCohortSpec(diameters_mm=(3.0, 2.0))
