import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from PIL import Image

from histokeras.models.segmenter_file import segmenter_card, write_segmenter
from histokeras.models.segmenters import SegmenterSpec, build_segmenter
from histokeras.slides.synthetic import write_pyramid
from histokeras.training.segmenter import open_segmenter

SPEC = SegmenterSpec(network="unet", backbone="", channels=2)
WINDOWS = ("--window-px", "128", "--overlap-px", "64")


def write_run(folder: Path, *, seed: int = 0, mpp: float | None = 0.5, name: str = "segmenter"):
    keras.utils.set_random_seed(seed)
    card = segmenter_card(
        SPEC, ("other", "necrosis"), positive="necrosis", mpp=mpp, crop_px=64, weights="none",
        weights_sha256="",
    )  # fmt: skip
    write_segmenter(folder / name, build_segmenter(SPEC), card)
    return folder


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    rng = np.random.default_rng(0)
    for name in ("S1", "S2"):
        pixels = rng.integers(90, 230, (10, 10, 3), np.uint8).repeat(26, 0).repeat(26, 1)
        write_pyramid(folder / f"{name}.tiff", pixels, mpp=0.5, downsamples=(), lossless=True)
    return folder


def _probability(folder: Path, slide: str = "S1") -> np.ndarray:
    with Image.open(folder / f"{slide}.prob_necrosis.tif") as picture:
        return np.asarray(picture).astype(float)


def test_slides_are_segmented_and_the_same_command_resumes(
    histokeras: Callable[..., Result], slides: Path, tmp_path: Path
) -> None:
    run, out = write_run(tmp_path / "run"), tmp_path / "out"
    pd.DataFrame({"slide_id": ["S1", "S2"], "patient_id": ["P", "P"]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    command = ("segment", run, slides, "-o", out, *WINDOWS, "--slide-table", tmp_path / "t.csv")
    first = histokeras(*command)
    assert first.exit_code == 0, first.output
    assert first.stdout.split() == [str(out / "S1.mask.tif"), str(out / "S2.mask.tif")]
    again = histokeras(*command, "--json")
    report = json.loads(again.stdout)
    assert [row["outcome"] for row in report["slides"]] == ["skipped", "skipped"]
    patients = pd.read_csv(out / "patients.csv")
    assert patients["slides"].tolist() == [2, 2]
    assert patients["share"].sum() == pytest.approx(1)
    record = json.loads((out / "run.json").read_text())
    assert record["command"] == "segment"
    assert record["settings"]["windows"] == {
        "size_px": 128, "overlap_px": 64, "rim_px": None,
    }  # fmt: skip
    other = histokeras("segment", write_run(tmp_path / "run2", seed=1), slides, "-o", out, *WINDOWS)
    assert other.exit_code == 2
    assert "other segmenters" in other.stderr


def test_folds_are_averaged(
    histokeras: Callable[..., Result], slides: Path, tmp_path: Path
) -> None:
    for fold in range(2):
        write_run(tmp_path / "run", seed=fold, name=f"folds/{fold}/segmenter")
    alone = [tmp_path / "run" / "folds" / str(fold) / "segmenter" for fold in range(2)]
    maps = []
    for number, model in enumerate((tmp_path / "run", *alone)):
        out = tmp_path / f"out{number}"
        result = histokeras(
            "segment", model, slides / "S1.tiff", "-o", out, *WINDOWS, "--probability"
        )
        assert result.exit_code == 0, result.output
        maps.append(_probability(out))
    assert np.abs(maps[1] - maps[2]).max() > 10
    assert np.abs(maps[0] - (maps[1] + maps[2]) / 2).max() <= 1


def test_slips_are_told_in_one_line(
    histokeras: Callable[..., Result], slides: Path, tmp_path: Path
) -> None:
    run, out = write_run(tmp_path / "run"), tmp_path / "out"
    odd = histokeras("segment", run, slides, "-o", out, "--window-px", "500")
    assert odd.exit_code == 2
    assert "`window_px` is a multiple of 32" in odd.stderr
    none = histokeras("segment", slides, slides, "-o", out)
    assert none.exit_code == 3
    assert "fit-segmenter" in none.stderr
    assert "best/" in none.stderr
    Image.new("RGB", (300, 200), (200, 120, 180)).save(tmp_path / "a.png")
    bare = histokeras("segment", run, tmp_path / "a.png", "-o", out, *WINDOWS)
    assert bare.exit_code == 4
    assert "--default-mpp" in bare.stderr
    told = histokeras(
        "segment", run, tmp_path / "a.png", "-o", out, *WINDOWS, "--default-mpp", "0.5"
    )
    assert told.exit_code == 0, told.output
    with Image.open(out / "a.mask.tif") as mask:
        assert mask.size == (300, 200)


@pytest.mark.parametrize(("window", "overlap"), [(None, 192), (256, 96), (1024, 192)])
def test_windows_of_a_unet_overlap_by_no_more_than_it_sees(
    tmp_path: Path, window: int | None, overlap: int
) -> None:
    found = open_segmenter(write_run(tmp_path), window_px=window, gpus="cpu").windows
    assert (found.size_px, found.overlap_px) == (window or 640, overlap)


def test_a_network_without_mpp_takes_images_in_their_own_pixels(
    histokeras: Callable[..., Result], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", mpp=None)
    Image.new("RGB", (90, 50), (200, 120, 180)).save(tmp_path / "a.png")
    result = histokeras("segment", run, tmp_path / "a.png", "-o", tmp_path / "out", *WINDOWS)
    assert result.exit_code == 0, result.output
    assert "own pixels" in result.stderr
    row = pd.read_csv(tmp_path / "out" / "segment.csv").iloc[0]
    assert (row["width_px"], row["segmented_px"]) == (90, 4500)
    assert pd.read_csv(tmp_path / "out" / "areas.csv")["area_mm2"].isna().all()
