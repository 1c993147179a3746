"""``explain`` and ``heatmap`` as they are typed, on a run over painted slides."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

import histokeras as hk
from histokeras.errors import SlideError
from histokeras.report.drawn import read_drawn
from histokeras.slides.synthetic import write_slide
from tests.training.made_run import write_run

SIDE = 64


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, histokeras: Callable[..., Result]) -> Path:
    """A run on mini with two heads, two slides, and what ``predict`` says of the first."""
    folder = tmp_path_factory.mktemp("studio")
    for number in (1, 2):
        write_slide(folder / f"S{number}.tiff", seed=number, size_px=(320, 256), kind="a")
    run = write_run(folder / "run", size_px=SIDE, temperatures=(1.0, 2.0), positive="glands")
    (run / "split.csv").write_text("patient_id,split\n")
    result = histokeras("predict", run, folder / "S1.tiff", "-o", folder / "new")
    assert result.exit_code == 0, result.output
    return folder


def test_tiles_of_a_slide_are_explained_and_the_table_agrees_with_predict(
    studio: Path, histokeras: Callable[..., Result]
) -> None:
    result = histokeras(
        "explain", studio / "run", studio / "S1.tiff", studio / "S2.tiff", "-n", 4, "--predictions",
        studio / "new",
    )  # fmt: skip

    assert result.exit_code == 4, result.output
    assert "S2: PREDICTIONS_MISSING" in result.stderr
    assert "the mean of 2 heads" in result.stderr
    assert "stage2_out" in result.stderr
    out = studio / "run" / "explain"
    table = pd.read_csv(out / "explain.csv")
    assert len(table) == 4
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in table["file"])
    predicted = pd.read_csv(studio / "new/predictions/S1.csv")
    both = table.merge(predicted, left_on=["x", "y"], right_on=["minx", "miny"])
    expected = [row[f"prob_{row['class']}"] for _, row in both.iterrows()]
    np.testing.assert_allclose(both["prob"], expected, atol=2e-5)
    record = json.loads((out / "run.json").read_text())
    assert record["command"] == "explain"
    assert record["method"] == "grad-cam"


def test_heatmaps_of_probability_and_of_evidence(
    studio: Path, histokeras: Callable[..., Result]
) -> None:
    slide = studio / "S1.tiff"
    of_predict = histokeras("heatmap", studio / "new", slide, "-o", studio / "maps")
    evidence = histokeras(
        "heatmap", studio / "run", slide, "--of", "grad-cam", "--predictions", studio / "new"
    )

    assert of_predict.exit_code == 0, of_predict.output
    assert evidence.exit_code == 0, evidence.output
    assert of_predict.stdout.strip().endswith("S1.prob.glands.png")
    assert (studio / "maps" / "S1.geojson").is_file()
    table = pd.read_csv(studio / "run/heatmaps/heatmaps.csv")
    assert table["layer"].tolist() == ["stage3_out"]
    assert 0 <= table["positive_share"][0] <= 1


def test_the_report_shows_what_lies_in_the_run(studio: Path) -> None:
    galleries, left_out = read_drawn(studio / "run", 2_000_000)
    nothing, lost = read_drawn(studio / "run", 100)

    assert len(galleries["explain"].pictures) == 4
    assert len(galleries["heatmap"].pictures) == 1
    assert left_out == 0
    assert "S1" in galleries["heatmap"].pictures[0].lines[0]
    assert (nothing, lost) == ({}, 5)
    assert read_drawn(studio, 2_000_000) == ({}, 0)
    # A head trained anew since: maps of the old one are not its own.
    card = studio / "run/folds/0/head/model.json"
    before = card.read_text()
    card.write_text(json.dumps({**json.loads(before), "head_sha256": "another"}))
    assert read_drawn(studio / "run", 2_000_000) == ({}, 0)
    card.write_text(before)


def test_python_returns_what_a_notebook_shows(studio: Path) -> None:
    with hk.open_slide(studio / "S1.tiff") as slide:
        images = np.stack([slide.read_region((SIDE * i, SIDE), 0, (SIDE, SIDE)) for i in range(2)])

    found = hk.explain(studio / "run", images, class_name="stroma", method="occlusion")

    assert len(found) == 2
    assert found[0].map.shape == (SIDE, SIDE)
    assert found.table["class"].tolist() == ["stroma", "stroma"]
    assert found._repr_html_().count("<img") == 2
    with pytest.raises(SlideError, match="no such file"):
        hk.explain(studio / "run", studio / "none.png")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--class", "gland"), 2, "one of glands, stroma"),
        (("--layer", "stage3"), 2, "stage3_out (4 x 4)"),
        (("--method", "lime"), 2, "is not one of"),
    ],
)
def test_slips_are_one_line(
    arguments: tuple[str, str], code: int, text: str, studio: Path,
    histokeras: Callable[..., Result], tmp_path: Path,
) -> None:  # fmt: skip
    result = histokeras(
        "explain", studio / "run", studio / "S1.tiff", "-o", tmp_path / "out", *arguments
    )

    assert result.exit_code == code
    assert text in result.stderr
    assert not (tmp_path / "out").exists()
