import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image as PillowImage

from histokeras.analysis.lymph_nodes import measure_nodes
from histokeras.cli.main import main
from histokeras.files import write_csv, write_json
from histokeras.report.lymph_job import FACTS, LABELS, TILES, TUMOUR, LymphJob, NodeSlide
from histokeras.report.lymph_run import write_tables
from histokeras.runs.record import RunRecord
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.tile_scorer import TileScorer
from histokeras.types import Mpp

SHAPE = (100, 200)
SCALE = 20.0
Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels of the overview."""


def png(values: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()


def painted(boxes: list[Box]) -> npt.NDArray[np.int32]:
    labels = np.zeros(SHAPE, np.int32)
    for number, (left, top, right, bottom) in enumerate(boxes, start=1):
        labels[top:bottom, left:right] = number
    return labels


def write_nodes(
    folder: Path, slides: dict[str, tuple[str, list[Box], list[Box]]], **more: Any
) -> Path:
    """Write what lymph-nodes would have of slides: patient, nodes, tumour."""
    scorer = TileScorer(
        predict=lambda tiles: np.zeros(len(tiles), np.float32),
        spec=TileSpec(size_px=256, mpp=Mpp(0.5)),
        tile_class="TUM",
        digests=("0",),
    )
    entries = [
        NodeSlide(path=Path(f"{name}.tiff"), slide_id=name, patient_id=patient)
        for name, (patient, _, _) in slides.items()
    ]
    job = LymphJob(slides=entries, output=folder, scorer=scorer)
    (folder / "predictions").mkdir(parents=True)
    for name, (_, nodes, tumour) in slides.items():
        labels, mask = painted(nodes), painted(tumour) > 0
        table = measure_nodes(labels, mask, 10.0, job.rules, scale=SCALE, cell_um=32.0)
        shades = np.where(labels > 0, np.where(mask, 254, 0), 255).astype(np.uint8)
        job.path(name, LABELS).write_bytes(png(labels.astype(np.uint16)))
        job.path(name, TUMOUR).write_bytes(png(shades))
        write_csv(job.files(name)[TILES], tiles_of(mask))
        row = {
            "mpp": 0.5, "mpp_source": "", "overview_mpp": 10.0, "width_px": SHAPE[1],
            "height_px": SHAPE[0], "scale": SCALE, "n_nodes": len(table), "n_metastatic": 0,
            "n_dropped": 0, "tiles_on_grid": 0, "tiles_read": 0, "share_not_read": 0.0,
            "tiles_read_again": 0,
        }  # fmt: skip
        found = [
            {k: None if v != v else v for k, v in one.items()} for one in table.to_dict("records")
        ]
        content = {"settings": job.settings, "outcome": "done", "row": row, "nodes": found}
        write_json(job.path(name, FACTS), content | more.get(name, {}))
    write_tables(job, more.get("outcomes", dict.fromkeys(slides, "done")))
    record = RunRecord("lymph-nodes", {})
    record.facts = {"settings": job.settings}
    record.write(folder, status=more.get("status", "done"))
    return folder


def tiles_of(mask: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Return tiles of ten pixels whose probability is their share of what was found."""
    shares = mask.reshape(10, 10, 20, 10).mean(axis=(1, 3))
    y, x = np.indices(shares.shape) * 200
    return pd.DataFrame(
        {
            "minx": x.ravel(),
            "miny": y.ravel(),
            "width": 200,
            "height": 200,
            "prob_TUM": shares.ravel(),
        }
    )


def write_truth(folder: Path, name: str, nodes: list[Box], tumour: list[Box]) -> None:
    features = []
    for label, boxes in (("Lymph node", nodes), ("Tumor", tumour)):
        for box in boxes:
            left, top, right, bottom = (side * SCALE for side in box)
            ring = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
            features.append(
                {
                    "type": "Feature",
                    "properties": {"classification": {"name": label}},
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                }
            )
    path = folder / f"{name}.geojson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments), "--bootstrap", "100"])


LEFT, RIGHT, DEPOSIT = (0, 0, 80, 80), (100, 0, 180, 80), (0, 0, 40, 40)


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Patient P1: a node in two was found with half its tumour; P2: its node ran on."""
    write_nodes(
        tmp_path / "nodes",
        {
            "S1": ("P1", [LEFT], [(0, 0, 40, 20)]),
            "S2": ("P2", [(100, 0, 180, 100)], []),
            "S3": ("P3", [LEFT], []),
        },
    )
    write_truth(tmp_path / "truth", "S1", [LEFT, RIGHT], [DEPOSIT])
    write_truth(tmp_path / "truth", "S2", [RIGHT], [])
    write_truth(tmp_path / "truth", "S9", [RIGHT], [])
    return tmp_path


def test_folder_is_compared_with_what_was_drawn(cohort: Path) -> None:
    result = run(cohort / "nodes", "--truth", cohort / "truth", "-o", cohort / "out")

    assert result.exit_code == 0, result.output
    assert "Left out: S3 (no drawn truth)." in result.stderr
    assert "1 file(s) of --truth belong to no slide: S9.geojson" in result.stderr
    patients = pd.read_csv(cohort / "out/patients.csv", index_col="patient_id")
    assert patients.index.tolist() == ["P1", "P2"]
    # P1: 6400 of 12800 px were found; 800 of 1600 px of tumour, so 12.5 % for 25 %.
    assert patients.loc["P1", ["node_dice", "node_iou"]].tolist() == pytest.approx([2 / 3, 0.5])
    assert patients.loc["P1", "tumour_dice"] == pytest.approx(2 / 3)
    assert patients.loc["P1", "T_MLN_mean_error"] == pytest.approx(-0.125)
    assert patients.loc["P1", "node_area_error"] == pytest.approx(-0.5)
    assert patients.loc["P1", ["n_missed", "n_found", "n_mln_true"]].tolist() == [1, 1, 1]
    # Of 128 tiles in nodes 16 are tumour, of which 8 have a probability of 1, all others of 0.
    assert patients.loc["P1", ["n_tiles", "n_tumour_tiles"]].tolist() == [128, 16]
    assert patients.loc["P1", "tile_auc"] == pytest.approx(0.75)
    assert patients.loc["P2", ["pN_true", "pN"]].tolist() == ["pN0", "pN0"]
    nodes = pd.read_csv(cohort / "out/nodes.csv")
    assert nodes["outcome"].tolist() == ["found", "missed", "found"]
    assert nodes["iou"].tolist() == pytest.approx([1, 0, 0.8])
    slides = pd.read_csv(cohort / "out/slides.csv")
    assert slides["node_area_mm2_true"].tolist() == pytest.approx([1.28, 0.64])
    metrics = json.loads((cohort / "out/metrics.json").read_text())
    assert metrics["left_out"] == {"S3": "no drawn truth"}
    assert metrics["figures"]["right_n_nodes"]["value"] == 0.5
    assert "drawn \\ found" in result.stdout
    assert "S9" not in (cohort / "out/metrics.json").read_text()
    page = (cohort / "out/report.html").read_text()
    assert "2 found, 1 missed" in page
    assert "12.5 % (25.0 %)" in page
    (cohort / "out/report.html").unlink()
    again = CliRunner().invoke(main, ["report", str(cohort / "out")])
    assert again.exit_code == 0, again.output
    assert (cohort / "out/report.html").read_text() == page
    record = json.loads((cohort / "out/run.json").read_text())
    assert (record["command"], record["status"]) == ("evaluate", "done")
    assert "truth" not in json.dumps(
        [record["config"]["truth"], record["command_line"].split()[3:4]]
    )


def test_json_is_one_document_and_a_split_picks_patients(cohort: Path) -> None:
    split = cohort / "split.csv"
    split.write_text("patient_id,split\nP1,train\nP2,test\nP3,test\n")

    result = run(cohort / "nodes", "--truth", cohort / "truth", "--split", split, "--json")

    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert (metrics["n_patients"], metrics["side"]) == (1, "test")
    assert metrics["left_out"] == {"S1": "train side of the split", "S3": "no drawn truth"}


def test_slides_that_failed_or_held_nothing(tmp_path: Path) -> None:
    empty = {"outcome": "empty", "row": {}, "nodes": [], "slide_mpp": 0.5}
    write_nodes(
        tmp_path / "nodes",
        {"S1": ("P1", [], []), "S2": ("P1", [LEFT], []), "S3": ("P2", [LEFT], [])},
        S1=empty,
        outcomes={"S1": "empty", "S2": "failed", "S3": "done"},
    )
    for name in ("S1", "S2", "S3"):
        write_truth(tmp_path / "truth", name, [LEFT], [])

    result = run(tmp_path / "nodes", "--truth", tmp_path / "truth", "--json")

    # What was drawn on glass is missed; what nobody read is left out. No tumour was drawn.
    metrics = json.loads(result.stdout)
    assert metrics["counts"]["missed"] == 1
    assert metrics["left_out"] == {"S2": "lymph-nodes: failed"}
    assert not metrics["has_tumour"]


def test_slides_of_unknown_patients_stand_for_themselves(tmp_path: Path) -> None:
    write_nodes(tmp_path / "nodes", {"S1": ("", [LEFT], [DEPOSIT]), "S2": ("", [LEFT], [])})
    for name in ("S1", "S2"):
        write_truth(tmp_path / "truth", name, [LEFT], [DEPOSIT])

    result = run(tmp_path / "nodes", "--truth", tmp_path / "truth")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 slides, 2 drawn lymph nodes")
    assert "slides stand for them" in result.stdout


def test_truth_lies_beside_the_patient_of_its_slide(tmp_path: Path) -> None:
    write_nodes(
        tmp_path / "nodes",
        {"P1_A.1": ("P1", [LEFT], []), "P2_A.1": ("P2", [LEFT], []), "P3_A.1": ("P3", [LEFT], [])},
    )
    for name in ("P1/A.1", "P2/A.1"):
        write_truth(tmp_path / "truth", name, [LEFT], [DEPOSIT])

    result = run(tmp_path / "nodes", "--truth", tmp_path / "truth", "--json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["left_out"] == {"P3_A.1": "no drawn truth"}


def test_truth_of_another_patient_is_not_taken(tmp_path: Path) -> None:
    write_nodes(tmp_path / "nodes", {"A": ("P1", [LEFT], []), "B": ("P2", [LEFT], [])})
    for name in ("P2/A", "P2/B"):
        write_truth(tmp_path / "truth", name, [LEFT], [DEPOSIT])

    result = run(tmp_path / "nodes", "--truth", tmp_path / "truth", "--json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["left_out"] == {"A": "no drawn truth"}


def test_truth_may_go_by_the_ids_that_pseudonyms_hide(tmp_path: Path) -> None:
    write_nodes(tmp_path / "nodes", {"X1": ("Q1", [LEFT], [])})
    write_truth(tmp_path / "truth", "S1", [LEFT], [DEPOSIT])
    table = tmp_path / "pseudonyms.csv"
    table.write_text("id,pseudonym\nS1,X1\nP1,Q1\n")

    result = run(tmp_path / "nodes", "--truth", tmp_path / "truth", "--pseudonyms", table, "--json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["counts"]["found"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --truth DIR"),
        (["--labels", "nodes/slides.csv"], "`--labels` is for classifiers"),
        (["--truth", "truth", "--side", "val"], "`--side` is for a split"),
        (["--truth", "truth", "--node-class", "Knoten"], "'Knoten'"),
        (["--truth", "empty"], "holds no drawn regions"),
        (["--truth", "other"], "no slide of nodes can be compared with other: no drawn truth"),
        (["--truth", "tumour"], "no lymph node is drawn in tumour"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    cohort: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    (cohort / "empty").mkdir()
    write_truth(cohort / "other", "S7", [LEFT], [])
    write_truth(cohort / "tumour", "S1", [], [LEFT])
    monkeypatch.chdir(cohort)

    result = run("nodes", *options)

    assert result.exit_code in (2, 3)
    assert message in result.output
    assert not (cohort / "out").exists()


def test_folders_that_do_not_fit_are_refused(cohort: Path) -> None:
    record = json.loads((cohort / "nodes/run.json").read_text())
    truth = ("--truth", cohort / "truth")

    (cohort / "nodes/S1.nodes.png").write_bytes(png(np.zeros((5, 5), np.uint16)))
    assert "not of the size" in run(cohort / "nodes", *truth).output
    (cohort / "nodes/S1.nodes.png").write_bytes(png(np.zeros(SHAPE, np.uint16)))
    assert "has 0 nodes, nodes.csv 1" in run(cohort / "nodes", *truth).output
    (cohort / "nodes/S1.nodes.png").write_bytes(b"")
    assert "S1.nodes.png cannot be read" in run(cohort / "nodes", *truth).output
    (cohort / "nodes/run.json").write_text(json.dumps(record | {"status": "interrupted"}))
    assert "has not finished" in run(cohort / "nodes", *truth).output
    (cohort / "nodes/run.json").write_text(json.dumps(record | {"command": "predict"}))
    assert "`--truth` is for output of lymph-nodes" in run(cohort / "nodes", *truth).output
