from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histokeras.errors import ConfigError, FeatureError
from histokeras.slides.synthetic import write_pyramid
from histokeras.training.tile_classifier import for_slides, holds_slides
from histokeras.training.trained_run import TrainedRun

SETTINGS = {
    "backbone": "mini", "weights": "bundled", "weights_sha256": "ab", "ready_made": True,
    "resize": True, "precision": "float32", "compute_batch": 16, "dtype": "float32",
    "tile_size_px": 224, "preprocessing": "mini",
}  # fmt: skip


def run_of(**card: Any) -> TrainedRun:
    known = {"classes": ["STR", "TUM"], "features": SETTINGS}
    return TrainedRun(Path("run"), {**known, **card}, [], [])


def test_slides_are_cut_into_tiles_like_those_learned_from() -> None:
    fitted = for_slides(run_of(tiles_mpp=0.4))

    assert (fitted.tile_spec.size_px, fitted.tile_spec.mpp) == (224, 0.4)
    assert not fitted.ready_made
    assert fitted.settings["resize"] is False
    assert fitted.settings["weights_sha256"] == "ab"
    assert fitted.classes == ("STR", "TUM")


def test_features_of_slides_may_choose_their_tiles_but_not_their_size() -> None:
    cut = {"tile_max_background": 0.6, "tile_size_px": 299, "tile_mpp": 1.0, "backbone": "other"}

    settings = for_slides(run_of(), 0.5, cut).settings

    assert settings["tile_max_background"] == 0.6
    assert (settings["tile_size_px"], settings["tile_mpp"]) == (224, 0.5)
    assert settings["backbone"] == "mini"


def test_an_unknown_resolution_is_asked_for_and_another_one_refused() -> None:
    with pytest.raises(FeatureError, match="nobody said at how many um per pixel") as caught:
        for_slides(run_of())
    assert caught.value.code == "MPP_MISSING"
    with pytest.raises(ConfigError, match=r"`--mpp` says 0\.25 .* known to be of 0\.5"):
        for_slides(run_of(tiles_mpp=0.5), 0.25)
    cut = {**SETTINGS, "ready_made": False, "tile_mpp": 0.5}
    with pytest.raises(ConfigError, match=r"cut its slides at 0\.5 um"):
        for_slides(run_of(features=cut), 0.5)


def test_slides_are_told_from_folders_of_tiles(tmp_path: Path) -> None:
    tiles, flat, slides, scans = (tmp_path / name for name in ("tiles", "flat", "slides", "scans"))
    for place in (tiles / "TUM", flat):
        place.mkdir(parents=True)
        # As in NCT-CRC: tiles that are TIFFs, as slides may be.
        Image.new("RGB", (224, 224), (200, 100, 150)).save(place / "a.tif")
    slides.mkdir()
    pixels = np.full((300, 900, 3), (220, 150, 200), np.uint8)
    write_pyramid(slides / "S1.tiff", pixels, mpp=0.5, downsamples=(), lossless=True)
    scans.mkdir()
    (scans / "S1.svs").write_bytes(b"x" * 900)

    assert not holds_slides([tiles], 224)
    assert not holds_slides([flat], 224)
    assert not holds_slides([tiles], 224, recursive=True)
    assert holds_slides([slides], 224)
    # A slide that is broken fails by name, as a slide.
    assert holds_slides([scans], 224)
    assert holds_slides([slides / "S1.tiff"], 224)
