"""Tile sets of the eight tissue classes, as they are given away: learned from, then on slides."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from PIL import Image

from histokeras.cohort.grouping import parse_grouping
from histokeras.cohort.synthetic_tiles import TileSetSpec, paint_tile
from histokeras.models.model_file import read_card
from histokeras.slides.synthetic import SlideSpec, write_he_slide
from histokeras.tiles.folders import read_tile_set
from histokeras.tissue import TISSUES
from histokeras.training.fit_job import FitJob, prepare_study

Call = Callable[..., Result]
N, PX = 10, 64
QUICK = ("--epochs", 8, "--lr", 0.03, "--bootstrap", 100)


def extracted(histokeras: Call, folder: Path, out: Path, *options: object) -> Path:
    result = histokeras(
        "extract-features", "--tiles", folder, "-o", out, "--backbone", "stain-texture", *options
    )
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def hmu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As HMU-GC-HE-30K: ``all_image/<CLS>/<CLS>_<n>.png``, and no patient anywhere."""
    spec = TileSetSpec(n_per_class=N, size_px=PX)
    root = tmp_path_factory.mktemp("hmu") / "HMU-GC-HE-30K"
    for kind in TISSUES:
        (root / "all_image" / kind).mkdir(parents=True)
        for n in range(N):
            path = root / "all_image" / kind / f"{kind}_{n + 1}.png"
            path.write_bytes(paint_tile(spec, kind, n))
    return root


@pytest.fixture(scope="module")
def nct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As NCT-CRC-HE-100K: ``<CLS>/<CLS>-XXXX.tif``, normal mucosa called NORM, and glass, BACK."""
    spec = TileSetSpec(seed=1, n_per_class=4, size_px=PX)
    root = tmp_path_factory.mktemp("nct") / "NCT-CRC-HE-100K"
    for kind in (*TISSUES, "BACK"):
        name = {"NOR": "NORM"}.get(kind, kind)
        (root / name).mkdir(parents=True)
        for n in range(4):
            glass = Image.new("RGB", (PX, PX), (240 + n, 238, 242))
            image = glass if kind == "BACK" else Image.open(io.BytesIO(paint_tile(spec, kind, n)))
            image.save(root / name / f"{name}-{n:04d}.tif")
    return root


@pytest.fixture(scope="module")
def feats(hmu: Path, histokeras: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extracted(histokeras, hmu, tmp_path_factory.mktemp("feats"))


@pytest.fixture(scope="module")
def run(feats: Path, histokeras: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head of tumour against the rest."""
    out = tmp_path_factory.mktemp("tum") / "run"
    result = histokeras(
        "fit-head", feats, "--group", "TUM", "-o", out, "--patients-unknown", *QUICK
    )
    assert result.exit_code == 0, result.output
    assert "Warning: tile-level, not patient-safe" in result.stderr
    return out


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "S1.tiff"
    write_he_slide(path, SlideSpec(seed=5, size_px=(512, 512)))
    return path


def test_a_loader_counts_eight_times_n(hmu: Path, nct: Path) -> None:
    for root in (hmu, hmu / "all_image"):
        counts = read_tile_set([root])["label"].value_counts()
        assert counts.to_dict() == dict.fromkeys(TISSUES, N)
    other = read_tile_set([nct])["label"].value_counts()
    names = [name.replace("NOR", "NORM") for name in TISSUES] + ["BACK"]
    assert other.to_dict() == dict.fromkeys(names, 4)


def test_a_set_without_patients_says_what_to_type_and_is_stamped(
    feats: Path, run: Path, histokeras: Call, tmp_path: Path
) -> None:
    refused = histokeras("fit-head", feats, "--group", "TUM", "-o", tmp_path / "run", *QUICK)

    assert refused.exit_code == 3
    assert "--patients-unknown" in refused.stderr
    assert "tile-level, not patient-safe" in (run / "report.html").read_text(encoding="utf-8")
    for name in ("metrics.json", "run.json", "head/model.json"):
        assert json.loads((run / name).read_text())["note"] == "tile-level, not patient-safe"


def test_a_group_is_saved_with_the_run_and_its_class_is_the_positive_one(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    level = metrics["splits"]["test"]["tile"]

    assert metrics["positive"] == "TUM"
    assert json.loads((run / "run.json").read_text())["labels"]["group"] == "TUM=TUM;rest=*"
    card = read_card(run / "head")
    assert (card["classes"], card["group"]) == (["TUM", "rest"], "TUM=TUM;rest=*")
    assert level["n"] == 12
    labels = pd.concat([pd.read_csv(path) for path in (run / "predictions").iterdir()])["label"]
    assert labels.value_counts().to_dict() == {"rest": 7 * N, "TUM": N}
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "They are groups of classes: TUM=TUM; rest=all others." in page


def test_named_groups_leave_the_other_classes_out_and_list_them(
    feats: Path, histokeras: Call, tmp_path: Path
) -> None:
    group = parse_grouping("stroma=MUS,STR;mucosa=NORM")
    study = prepare_study(FitJob(features=feats, group=group, patients_unknown=True))
    unknown = histokeras("fit-head", feats, "--group", "BACK", "-o", tmp_path / "other")

    assert study.joined.units["label"].value_counts().to_dict() == {"stroma": 2 * N, "mucosa": N}
    assert f"{N} of {8 * N} rows left out: class TUM is in no group" in study.cohort.notes
    said = study.dropped[study.dropped["kind"] == "row"]["reason"].value_counts()
    assert said.to_dict() == {
        f"class {name} is in no group": N for name in ("ADI", "DEB", "LYM", "MUC", "TUM")
    }
    assert unknown.exit_code == 3
    assert "names the class 'BACK'" in unknown.stderr
    assert "ADI, DEB, LYM, MUC, MUS, NOR, STR, TUM" in unknown.stderr


def test_predictions_of_another_set_are_grouped_as_the_run_was(
    run: Path, nct: Path, histokeras: Call, tmp_path: Path
) -> None:
    assert histokeras("predict", run, nct, "-o", tmp_path / "pred").exit_code == 0
    tiles = read_tile_set([nct])
    tiles[["tile", "label"]].to_csv(tmp_path / "labels.csv", index=False)

    result = histokeras(
        "evaluate", tmp_path / "pred", "--labels", tmp_path / "labels.csv", "--patients-unknown",
        "--json", "--bootstrap", 100,
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    level = json.loads(result.stdout)["splits"]["all"]["tile"]
    assert level["n_per_class"] == {"TUM": 4, "rest": 32}


def test_slides_need_the_resolution_that_the_tiles_have(
    run: Path, slide: Path, histokeras: Call, tmp_path: Path
) -> None:
    silent = histokeras("predict", run, slide.parent, "-o", tmp_path / "a")
    told = histokeras("predict", run, slide.parent, "-o", tmp_path / "b", "--mpp", 0.5)

    assert silent.exit_code == 3
    assert "nobody said at how many um per pixel" in silent.stderr
    assert "--mpp" in silent.stderr
    assert told.exit_code == 0, told.output
    assert "slides are cut into tiles of 64 px at 0.5 um per pixel" in told.stderr
    assert "--of class" in told.stderr
    table = pd.read_csv(tmp_path / "b/predictions/S1.csv")
    assert list(table) == ["minx", "miny", "width", "height", "prob_TUM", "prob_rest"]
    assert set(table["width"]) == {64}

    # Features of slides that are there already serve as well, and need the same word.
    made = histokeras("extract-features", slide, "-o", tmp_path / "feats", "--backbone",
                      "stain-texture", "--tile-px", PX)  # fmt: skip
    silent = histokeras("predict", run, tmp_path / "feats", "-o", tmp_path / "c")
    again = histokeras("predict", run, tmp_path / "feats", "-o", tmp_path / "c", "--mpp", 0.5)
    coarse = histokeras("predict", run, tmp_path / "feats", "-o", tmp_path / "d", "--mpp", 1)
    assert (made.exit_code, silent.exit_code, again.exit_code) == (0, 3, 0)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "c/predictions/S1.csv"), table)
    assert coarse.exit_code == 3
    assert "tile_mpp 0.5 (wanted 1" in coarse.stderr


def test_a_set_that_tells_its_resolution_is_cut_alike_by_itself(
    hmu: Path, slide: Path, histokeras: Call, tmp_path: Path
) -> None:
    # Seen at 96 px, tiles of 64 px and 0.5 um are of a third of a um.
    feats = extracted(histokeras, hmu, tmp_path / "feats", "--mpp", 0.5, "--tile-px", 96)
    out = tmp_path / "run"
    made = histokeras("fit-head", feats, "-o", out, "--patients-unknown", *QUICK)
    assert made.exit_code == 0, made.output

    finer = histokeras("predict", out, slide, "-o", tmp_path / "finer")
    other = histokeras("predict", out, slide, "-o", tmp_path / "other", "--mpp", 0.5)

    assert read_card(out / "head")["tiles_mpp"] == pytest.approx(1 / 3, rel=1e-5)
    assert read_card(out / "head")["classes"] == list(TISSUES)
    # The slide has 0.5 um: pixels that are not there are not made up.
    assert finer.exit_code == 4
    assert "coarser" in finer.stderr
    assert other.exit_code == 2
    assert "the run's tiles are known to be of 0.333" in other.stderr
