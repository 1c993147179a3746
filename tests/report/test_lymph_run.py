"""Many slides: resumed, shared out, renamed; what is missing is told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.lymph_nodes import NodeRules
from histokeras.cohort.patient_folders import find_patient_slides
from histokeras.errors import ConfigError, SlideError, TableError
from histokeras.report import lymph_run
from histokeras.report.lymph_inputs import drawn_classes, learned_patients, node_slides
from histokeras.report.lymph_job import LymphJob, NodeSlide
from histokeras.report.lymph_run import measure_lymph_nodes
from histokeras.runs.record import RunRecord
from histokeras.runs.shard import Shard
from histokeras.tables.pseudonyms import Pseudonyms
from tests.report.lymph_stub import SCORER, job, redness, write_drawing, write_slide

SIZE = (1000.0, 700.0)
RED = (300.0, 200.0, 500.0, 400.0)


def lab(folder: Path, *names: str, patients: str = "") -> list[NodeSlide]:
    """Slides with one node each; of every second one there is tumour in it."""
    slides = []
    for number, name in enumerate(names):
        red = [RED] if number % 2 == 0 else []
        slides.append(
            NodeSlide(
                path=write_slide(folder / f"{name}.tiff", SIZE, red=red),
                slide_id=name,
                patient_id=patients[number : number + 1],
                nodes=write_drawing(folder / f"{name}.geojson", node=[(50, 50, 950, 650)]),
            )
        )
    return slides


def outcomes(record: RunRecord) -> dict[str, str]:
    return {row["slide"]: row["outcome"] for row in record.slides}


def table(one: LymphJob, name: str) -> pd.DataFrame:
    return pd.read_csv(one.output / name)


def test_what_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    slides = lab(tmp_path, "S1", "S2", "S3", patients="PPQ")
    whole = job(tmp_path, *slides, output=tmp_path / "whole")
    measure_lymph_nodes(whole, quiet=True)
    calls: list[int] = []

    def killed(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        if sum(calls) > 900:
            raise KeyboardInterrupt
        return redness(images)

    # A node has 30 x 21 tiles.
    cut = job(tmp_path, *slides, scorer=replace(SCORER, predict=killed))
    with pytest.raises(KeyboardInterrupt):
        measure_lymph_nodes(cut, quiet=True)
    assert json.loads((cut.output / "run.json").read_text())["status"] == "interrupted"
    assert not list(cut.output.glob("S2*"))
    one = job(tmp_path, *slides)
    record = measure_lymph_nodes(one, quiet=True)
    assert outcomes(record) == {"S1": "skipped", "S2": "done", "S3": "done"}
    for name in ("slides.csv", "nodes.csv", "patients.csv"):
        assert (one.output / name).read_bytes() == (whole.output / name).read_bytes()
    patients = table(one, "patients.csv").set_index("patient_id")
    assert patients["n_mln"].to_dict() == {"P": 1, "Q": 1}
    assert patients.loc["P", "n_nodes"] == 2

    # Another cut-off is no other measurement; a damaged map is made anew.
    one.path("S3", "tumour.png").write_bytes(b"")
    record = measure_lymph_nodes(replace(one, cutoff=0.01), quiet=True)
    assert outcomes(record) == {"S1": "skipped", "S2": "skipped", "S3": "done"}
    assert table(one, "patients.csv")["group"].tolist() == ["high", "high"]
    # A corrected drawing is another slide's matter alone.
    assert slides[1].nodes is not None
    write_drawing(slides[1].nodes, node=[(50, 50, 950, 610)])
    record = measure_lymph_nodes(one, quiet=True)
    assert outcomes(record) == {"S1": "skipped", "S2": "done", "S3": "skipped"}
    assert table(one, "nodes.csv")["node_area_mm2"].tolist() == pytest.approx([0.54, 0.504, 0.54])
    rules = NodeRules(min_node_mm2=0.1)
    with pytest.raises(ConfigError, match="other min_node_mm2, stride_um"):
        measure_lymph_nodes(replace(one, rules=rules, stride_um=64.0), quiet=True)


def test_one_bad_slide_stops_nobody_and_its_patient_is_incomplete(tmp_path: Path) -> None:
    slides = lab(tmp_path, "S1", "S2", "S3", "S4", "S5", patients="PPQRS")
    slides[1].path.write_bytes(b"no slide")
    empty = write_drawing(tmp_path / "none.geojson")
    slides[2] = replace(slides[2], nodes=empty)
    slides[3] = replace(slides[3], nodes=None)
    bare = write_slide(tmp_path / "S5.tiff", SIZE, mpp=4.0)
    coarse = write_drawing(tmp_path / "S5.geojson", 4.0, node=[(50, 50, 950, 650)])
    slides[4] = replace(slides[4], path=bare, nodes=coarse)
    one = job(tmp_path, *slides)
    record = measure_lymph_nodes(one, quiet=True)

    # A slide without any node has been looked at.
    assert outcomes(record) == {
        "S1": "done", "S2": "failed", "S3": "done", "S4": "failed", "S5": "failed"
    }  # fmt: skip
    codes = {row["slide"]: row["code"] for row in record.facts["failures"]}
    assert codes["S4"] == "ANNOTATION_MISSING"
    assert codes["S5"] == "MAG_UNAVAILABLE"
    assert set(table(one, "failures.csv")["slide"]) == {"S2", "S4", "S5"}
    rows = table(one, "slides.csv").set_index("slide_id")
    assert rows["outcome"].tolist() == ["done", "failed", "done", "failed", "failed"]
    assert rows.loc["S3", ["n_nodes", "tiles_read"]].tolist() == [0, 0]
    patients = table(one, "patients.csv").set_index("patient_id")
    flagged = patients["flags"].str.contains("incomplete")
    assert flagged.to_dict() == {"P": True, "Q": False, "R": True, "S": True}
    assert patients["pN"].astype(object).fillna("").to_dict() == {
        "P": "pN1",
        "Q": "",
        "R": "",
        "S": "",
    }
    assert patients.loc["Q", "n_nodes"] == 0


def test_shards_and_pseudonyms_give_the_tables_of_all(tmp_path: Path) -> None:
    for name in ("JOHN", "MARY"):
        (tmp_path / "cohort" / name).mkdir(parents=True)
        lab(tmp_path / "cohort" / name, "A", "B")
    pseudonyms = Pseudonyms(
        {"JOHN_A": "S1", "JOHN_B": "S2", "MARY_A": "S3", "MARY_B": "S4", "JOHN": "P1", "MARY": "P2"}
    )
    drawn = tmp_path / "cohort"
    slides = node_slides(
        find_patient_slides([drawn]), table={}, patients={}, pseudonyms=pseudonyms, nodes=drawn
    )
    assert [one.slide_id for one in slides] == ["S1", "S2", "S3", "S4"]
    assert [one.nodes and one.nodes.parent.name for one in slides] == ["JOHN"] * 2 + ["MARY"] * 2
    one = job(tmp_path, *slides, pseudonyms=True)
    known: dict[str, Any] = {"config": {"pseudonyms": "p.csv"}, "quiet": True}
    measure_lymph_nodes(replace(one, shard=Shard(0, 2)), **known)
    half = table(one, "slides.csv")
    assert sorted(half["outcome"]) == ["done", "done", "not done", "not done"]
    assert table(one, "patients.csv")["flags"].str.contains("incomplete").any()
    measure_lymph_nodes(replace(one, shard=Shard(1, 2)), **known)
    assert table(one, "slides.csv")["outcome"].tolist() == ["done"] * 4
    patients = table(one, "patients.csv")
    assert patients["patient_id"].tolist() == ["P1", "P2"]
    assert patients["n_slides"].tolist() == [2, 2]
    assert not patients["flags"].str.contains("incomplete").any()
    for path in one.output.rglob("*"):
        assert "JOHN" not in path.name
        assert path.is_dir() or b"JOHN" not in path.read_bytes()


def test_what_failed_in_one_shard_failed_for_all_whoever_comes_last(tmp_path: Path) -> None:
    slides = lab(tmp_path, "S1", "S2", patients="PP")
    one = job(tmp_path, *slides)
    measure_lymph_nodes(one, quiet=True)
    slides[0].path.write_bytes(b"no slide")
    # S1 is of the first shard, and what was measured before still lies there.
    for number in (0, 1):
        part = replace(one, overwrite=True, shard=Shard(number, 2))
        measure_lymph_nodes(part, quiet=True)

    rows = table(one, "slides.csv").set_index("slide_id")
    assert rows["outcome"].to_dict() == {"S1": "failed", "S2": "done"}
    patients = table(one, "patients.csv")
    assert patients["flags"].str.contains("incomplete").all()
    assert patients["n_mln"].tolist() == [0]
    page = (one.output / "patients" / "P.html").read_text()
    assert "it could not be measured" in page
    # No picture of what does not hold any more.
    assert page.count("data:image/jpeg") == 1


def test_nothing_is_left_of_a_slide_that_turns_out_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slides = lab(tmp_path, "S1", patients="P")
    one = job(tmp_path, *slides)
    measure_lymph_nodes(one, quiet=True)

    def empty(*_: object) -> None:
        raise SlideError("slide `S1`: no tissue was found.", code="NO_TISSUE")

    monkeypatch.setattr(lymph_run, "measure_slide", empty)
    record = measure_lymph_nodes(replace(one, overwrite=True), quiet=True)

    assert outcomes(record) == {"S1": "empty"}
    assert [path.name for path in one.output.rglob("S1*")] == ["S1.lymph.json"]


def test_a_drawing_is_of_one_patient(tmp_path: Path) -> None:
    for name in ("P1/A", "P2/B"):
        (tmp_path / "slides" / name).parent.mkdir(parents=True)
        (tmp_path / "slides" / f"{name}.tiff").touch()
    drawn = tmp_path / "drawn" / "P2"
    drawn.mkdir(parents=True)
    write_drawing(drawn / "A.geojson", node=[RED])
    write_drawing(drawn / "B.geojson", node=[RED])

    found = find_patient_slides([tmp_path / "slides"])
    slides = node_slides(found, table={}, patients={}, nodes=drawn.parent)

    assert [one.nodes for one in slides] == [None, drawn / "B.geojson"]


def test_a_folder_a_patient(tmp_path: Path) -> None:
    for name in ("P1", "P2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "A.tiff").touch()
    (tmp_path / "P2" / "B.tiff").touch()
    found = find_patient_slides([tmp_path])
    ids = [(one.slide_id, one.patient_id) for one in found]
    assert ids == [("P1_A", "P1"), ("P2_A", "P2"), ("B", "P2")]
    # A table of patients is heeded instead.
    slides = node_slides(found, table={}, patients={"B": "Q"})
    assert [one.patient_id for one in slides] == ["", "", "Q"]
    # One folder with slides may just be called "slides".
    with pytest.raises(TableError, match="one folder, `P2`"):
        node_slides([one for one in found if one.patient_id == "P2"], table={}, patients={})
    # Slides beside folders: no folder is a patient.
    (tmp_path / "C.tiff").touch()
    assert [one.slide_id for one in find_patient_slides([tmp_path])] == ["C"]
    (tmp_path / "C.tiff").rename(tmp_path / "P2" / "P1_A.tiff")
    with pytest.raises(TableError, match="two slides have the id `P1_A`"):
        find_patient_slides([tmp_path])


def test_classes_are_told_from_all_files(tmp_path: Path) -> None:
    with_tumour = write_drawing(tmp_path / "a.json", LN=[RED], met=[RED], fat=[RED])
    without = write_drawing(tmp_path / "b.json", fat=[RED])
    slides = [
        NodeSlide(path=tmp_path / path.stem, slide_id=path.stem, nodes=path, tumour=path)
        for path in (with_tumour, without)
    ]
    # In the second file alone fat would pass for the node.
    assert drawn_classes(slides) == (("LN",), ("met",))
    with pytest.raises(ConfigError, match="both as 'fat'"):
        drawn_classes(slides, node="fat", tumour="fat")


def test_one_bad_drawing_stops_nobody_and_no_node_in_any_is_told(tmp_path: Path) -> None:
    slides = lab(tmp_path, "S1", "S2")
    bad = tmp_path / "bad.geojson"
    bad.write_text("{")
    assert drawn_classes([replace(slides[0], nodes=bad), slides[1]]) == (("node",), ())
    # Whoever drew nodes as tumour has no slides without nodes.
    only = write_drawing(tmp_path / "t.geojson", tumour=[RED])
    with pytest.raises(ConfigError, match="no lymph node is drawn in any file: there are tumour"):
        drawn_classes([replace(slides[0], nodes=only)])
    empty = write_drawing(tmp_path / "e.geojson")
    assert drawn_classes([replace(slides[0], nodes=empty)]) == ((), ())


def test_patients_whom_a_network_learned_from_are_flagged(tmp_path: Path) -> None:
    for name in ("seg/segmenter", "run", "bare"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "seg/split.csv").write_text("patient_id,split\nA,train\nB,test\n")
    (tmp_path / "run/split.csv").write_text("patient_id,split\nA,test\nC,val\nB,test\n")
    runs = [tmp_path / "seg/segmenter", tmp_path / "run", tmp_path / "bare", None]
    assert learned_patients(runs) == {"A", "C"}
    assert learned_patients(runs, Pseudonyms({"A": "X", "B": "Y"})) == {"X", "C"}
    # Each of the averaged networks of a cross-validation learned from others.
    folds = "patient_id,fold\nA,0\nB,1\nD,2\n"
    (tmp_path / "run/split.csv").write_text(folds)
    assert learned_patients(runs) == {"A", "B", "D"}

    slides = lab(tmp_path, "S1", "S2", patients="AZ")
    one = job(tmp_path, *slides, learned=frozenset("A"))
    measure_lymph_nodes(one, quiet=True)
    flags = table(one, "patients.csv").set_index("patient_id")["flags"]
    assert flags.str.contains("a network learned from this patient").to_dict() == {
        "A": True, "Z": False
    }  # fmt: skip
