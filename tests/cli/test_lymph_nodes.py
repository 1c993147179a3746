import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from histokeras.errors import ConfigError, FeatureError
from histokeras.models.segmenter_file import segmenter_card, write_segmenter
from histokeras.models.segmenters import SegmenterSpec, build_segmenter
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import write_pyramid
from histokeras.training.classifier import open_classifier
from histokeras.training.tile_scorer import open_tile_scorer
from tests.report.lymph_stub import write_drawing, write_slide
from tests.training.made_run import write_run

SPEC = SegmenterSpec(network="unet", backbone="", channels=2)


def write_seg(folder: Path) -> Path:
    """A U-Net that takes everything for node."""
    keras.utils.set_random_seed(0)
    model = build_segmenter(SPEC)
    last = [layer for layer in model.layers if layer.get_weights()][-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel * 0, np.array([0, 1], bias.dtype)])
    card = segmenter_card(
        SPEC, ("other", "node"), positive="node", mpp=8.0, crop_px=64, weights="none",
        weights_sha256="",
    )  # fmt: skip
    write_segmenter(folder / "segmenter", model, card)
    return folder


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patients")
    rng = np.random.default_rng(0)
    for patient in ("P1", "P2"):
        (folder / patient).mkdir()
        pixels = rng.integers(60, 200, (25, 38, 3), np.uint8).repeat(64, 0).repeat(64, 1)
        pixels[:, -400:] = 245
        write_pyramid(folder / patient / "A.tiff", pixels, mpp=0.5, downsamples=(4,), lossless=True)
    return folder


def test_slides_to_patients_with_networks_and_the_same_command_resumes(
    histokeras: Callable[..., Result], patients: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", temperatures=(1.5, 0.7), positive="glands")
    out = tmp_path / "out"
    command = (
        "lymph-nodes", patients, "-o", out, "--segmenter", write_seg(tmp_path / "seg"),
        "--classifier", run, "--tumour-class", "glands", "--stride", "32", "--itc-stride", "0",
        "--batch-size", "8",
    )  # fmt: skip
    first = histokeras(*command)
    assert first.exit_code == 0, first.output
    assert first.stdout.strip() == str(out / "patients.csv")
    assert "tiles of 32 um every 32 um, glands above 0.5" in first.stderr
    report = json.loads(histokeras(*command, "--json").stdout)
    assert [row["outcome"] for row in report["slides"]] == ["skipped", "skipped"]
    table = pd.read_csv(out / "patients.csv")
    assert table["patient_id"].tolist() == ["P1", "P2"]
    assert table["n_nodes"].tolist() == [1, 1]
    tiles = pd.read_csv(out / "predictions" / "P2_A.csv")
    # The referee: another way to build the same network, in other batches.
    chosen = tiles.iloc[::150]
    with open_slide(patients / "P2" / "A.tiff") as slide:
        images = np.stack([
            slide.read_region((row.minx, row.miny), 0, (64, 64)) for row in chosen.itertuples()
        ])  # fmt: skip
    expected = open_classifier(run).score(images)[1][:, 0]
    np.testing.assert_allclose(chosen["prob_glands"], expected, atol=1e-5)
    assert np.ptp(expected) > 0.01
    settings = json.loads((out / "run.json").read_text())["settings"]
    assert settings["tile_class"] == "glands"
    other = histokeras(*command, "--tumour-class", "stroma")
    assert other.exit_code == 2
    assert "other tile_class, tumour_classes" in other.stderr


def test_a_run_whose_head_judges_slides_or_whose_tumour_is_unknown_is_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="it has glands, stroma"):
        open_tile_scorer(write_run(tmp_path / "run"))
    ready = write_run(tmp_path / "ready", positive="glands", settings={"ready_made": True})
    card = ready / "head" / "model.json"
    content = json.loads(card.read_text())
    features = {k: v for k, v in content["features"].items() if k != "tile_mpp"}
    card.write_text(json.dumps({**content, "features": features}))
    with pytest.raises(FeatureError, match="Give it with --tile-mpp"):
        open_tile_scorer(ready, tile_class="glands")
    assert open_tile_scorer(ready, tile_class="glands", mpp=0.4, gpus="cpu").size_um == 64 * 0.4
    card = tmp_path / "run" / "head" / "model.json"
    content = json.loads(card.read_text())
    card.write_text(json.dumps({**content, "head": "mil"}))
    with pytest.raises(ConfigError, match="judges a slide or patient as a whole"):
        open_tile_scorer(tmp_path / "run", tile_class="glands")


def test_drawn_ways_need_no_network_and_slips_are_told_in_one_line(
    histokeras: Callable[..., Result], tmp_path: Path
) -> None:
    slide = write_slide(tmp_path / "S1.tiff", (1000, 1000), mpp=2.0)
    drawn = tmp_path / "Mustermann"
    drawn.mkdir()
    write_drawing(
        drawn / "S1.geojson", 2.0, **{"Lymph Node": [(0, 0, 900, 900)], "TUMOR": [(0, 0, 300, 300)]}
    )
    out = tmp_path / "out"
    ways = ("--nodes", drawn, "--tumor", drawn)
    done = histokeras("lymph-nodes", slide, "-o", out, *ways)
    assert done.exit_code == 0, done.output
    # Nobody knows the patient.
    assert done.stdout.strip() == str(out / "slides.csv")
    assert "Give --patients" in done.stderr
    assert pd.read_csv(out / "nodes.csv")["ratio"].tolist() == pytest.approx([1 / 9])
    (tmp_path / "t.csv").write_text("slide_id,patient_id\nS1,P\n")
    known = histokeras(
        "lymph-nodes", slide, "-o", out, *ways, "--patients", tmp_path / "t.csv", "--cutoff", "0.1"
    )
    assert known.exit_code == 0, known.output
    assert pd.read_csv(out / "patients.csv")["group"].tolist() == ["high"]
    none = histokeras("lymph-nodes", slide, "-o", out, "--nodes", drawn)
    assert none.exit_code == 2
    assert "To find the tumour, give `--classifier RUN`" in none.stderr
    both = histokeras("lymph-nodes", slide, "-o", out, *ways, "--classifier", drawn)
    assert both.exit_code == 2
    assert "not both" in both.stderr
    odd = histokeras("lymph-nodes", slide, "-o", out, *ways, "--tumour-class", "necrosis")
    assert odd.exit_code == 2
    assert "there are Lymph Node, TUMOR" in odd.stderr
    percent = histokeras("lymph-nodes", slide, "-o", out, *ways, "--cutoff", "25")
    assert percent.exit_code == 2
    assert "25 is no share from 0 to 1, such as 0.25 for 25 %" in percent.stderr
    # The drawing of another slide.
    (tmp_path / "away").mkdir()
    away = tmp_path / "away" / "S1.geojson"
    write_drawing(away, 2.0, node=[(0, 0, 900, 900), (0, 900, 900, 1900)])
    other = histokeras(
        "lymph-nodes", slide, "-o", tmp_path / "other", "--nodes", away.parent, "--tumour", drawn
    )
    assert other.exit_code == 4
    assert "ANNOTATION_OUTSIDE annotations S1.geojson: 1 of 2 regions lie" in other.stderr
    # The name of a folder of drawings goes into no output.
    for path in out.rglob("*"):
        assert path.is_dir() or b"Mustermann" not in path.read_bytes()
    # What is given wins over the preset.
    preset = histokeras(
        "lymph-nodes", slide, "-o", tmp_path / "two", *ways, "--preset", "write-up",
        "--min-tumour-mm2", "0.2",
    )  # fmt: skip
    assert preset.exit_code == 0, preset.output
    settings = json.loads((tmp_path / "two" / "run.json").read_text())["settings"]
    assert settings["tumour_holes"] == "fill"
    assert settings["min_tumour_mm2"] == 0.2
    assert not pd.read_csv(tmp_path / "two" / "nodes.csv")["metastatic"].any()


def test_slides_of_a_patient_that_the_table_names_and_are_not_here_are_told(
    histokeras: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "slides").mkdir()
    write_slide(tmp_path / "slides" / "S1.tiff", (1000, 1000), mpp=2.0)
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    write_drawing(drawn / "S1.geojson", 2.0, node=[(0, 0, 900, 900)], tumour=[(0, 0, 300, 300)])
    (tmp_path / "t.csv").write_text("slide_id,patient_id\nS1,P\nS2.svs,P\nS3,Q\n")

    done = histokeras(
        "lymph-nodes", tmp_path / "slides", "-o", tmp_path / "out", "--nodes", drawn,
        "--tumour", drawn, "--patients", tmp_path / "t.csv",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    said = " ".join(done.stderr.split())
    assert "1 slide(s) of these patients that are not here: S2" in said
