import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.errors import ConfigError, FeatureError
from histokeras.features.extract import extract, extract_to_folder
from histokeras.features.extras import open_noted, pixel_hash
from histokeras.features.known import feature_path
from histokeras.features.plan import Plan, plan_extraction, prepare
from histokeras.features.settings import fingerprint, require_same_settings
from histokeras.features.sources import CutSource, SlideTiles, tile_set_sources
from histokeras.features.store import read_features
from histokeras.features.verify import verify_folder
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import StainProfile, render_tile, tissue_tile, write_slide
from histokeras.tiles.cut import cut_tiles
from histokeras.tiles.folders import read_tile_set
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.stain import normalise_stain
from histokeras.tiles.texture import stain_texture
from tests.features.conftest import SPEC, FakeEngine, colour_vectors, settings_of, sources_of


def test_no_normalisation_leaves_settings_and_fingerprint_as_they_were() -> None:
    plain = settings_of().as_dict()
    changed = settings_of(stain_norm="macenko").as_dict()

    # The whole of what folders of features held before there was this setting.
    assert set(plain) == {
        "backbone", "weights", "weights_sha256", "ready_made", "resize", "precision",
        "compute_batch", "dtype", "preprocessing", "tile_size_px", "tile_mpp", "tile_overlap_px",
        "tile_max_background", "tile_mpp_tolerance", "tile_tissue",
    }  # fmt: skip
    assert changed == {**plain, "stain_norm": "macenko"}
    assert fingerprint(plain, {}) != fingerprint(changed, {})
    with pytest.raises(FeatureError, match=r"stain_norm none \(wanted macenko\)"):
        require_same_settings(plain, changed, where="old", hint="")
    with pytest.raises(FeatureError, match=r"stain_norm macenko \(wanted none\)"):
        require_same_settings(changed, plain, where="new", hint="")
    with pytest.raises(ConfigError, match="`stain_norm` must be one of"):
        settings_of(stain_norm="vahadane")


@pytest.mark.parametrize("stain_norm", ["macenko", "reinhard"])
def test_network_and_floor_see_one_stain_and_the_tiles_stay_the_same(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable, stain_norm: str
) -> None:
    run_plan(made_slides, tmp_path / "none")
    run_plan(made_slides, tmp_path / "norm", stain_norm=stain_norm)

    for path, source in zip(made_slides, sources_of(made_slides), strict=True):
        plain, changed = (
            read_features(feature_path(tmp_path / name, path.stem)) for name in ("none", "norm")
        )
        manifests = [tmp_path / name / f"tiles/{path.stem}.csv" for name in ("none", "norm")]
        assert manifests[0].read_bytes() == manifests[1].read_bytes()
        noted = open_noted(source, stain_norm)
        kept = np.flatnonzero(pd.read_csv(manifests[1])["kept"])
        images = np.stack([noted.read(int(row))[0] for row in kept])
        read = [noted.tiles.read(int(row))[0] for row in kept]
        noted.close()
        assert np.abs(images.astype(int) - read).mean() > 3
        np.testing.assert_allclose(changed.vectors, colour_vectors(images), rtol=1e-5)
        assert changed.extras is not None
        assert plain.extras is not None
        np.testing.assert_array_equal(
            changed.extras.floor, [stain_texture(image) for image in images]
        )
        assert changed.extras.pixel_hash.tolist() == plain.extras.pixel_hash.tolist()
        assert changed.extras.pixel_hash[0] == pixel_hash(read[0])
        assert changed.extras.overview == plain.extras.overview
        assert changed.extras.pictures != plain.extras.pictures
        assert "stain" not in plain.provenance
        assert changed.provenance["stain"]["method"] == stain_norm
        assert changed.provenance["stain"]["estimated_from"] == "the slide"


def test_order_batch_threads_and_resume_change_no_bit(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    class Killed(FakeEngine):
        def start(self, images: np.ndarray) -> np.ndarray:
            if self.calls == 7:
                raise KeyboardInterrupt
            return super().start(images)

    run_plan(made_slides, tmp_path / "a", stain_norm="macenko")
    with pytest.raises(KeyboardInterrupt):
        run_plan(made_slides[::-1], tmp_path / "b", stain_norm="macenko", engine=Killed())
    plan = run_plan(made_slides[::-1], tmp_path / "b", stain_norm="macenko", batch_size=7)

    assert 0 < sum(row["outcome"] == "skipped" for row in plan.outcomes) < 3
    for path in (tmp_path / "a/features").iterdir():
        assert path.read_bytes() == (tmp_path / "b/features" / path.name).read_bytes()
    settings = settings_of(stain_norm="macenko").as_dict()
    with open_slide(made_slides[0]) as slide:
        tiles = CutSource(cut_tiles(slide, SPEC))
        found = next(iter(extract([tiles], settings, FakeEngine(), workers=5))).features
    assert found is not None
    assert (
        found.provenance["arrays_sha256"]
        == (read_features(feature_path(tmp_path / "a", "slide0")).provenance["arrays_sha256"])
    )


def _with_mpp(source: object) -> object:
    object.__setattr__(source, "mpp", 0.5)
    return source


def test_a_slide_without_stain_fails_by_name_and_an_empty_one_stays_empty(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    shutil.copy(made_slides[0], slides / "good.tiff")
    for name, grey in (("grey", 150), ("glass", 240)):
        Image.fromarray(np.full((300, 300, 3), grey, np.uint8)).save(slides / f"{name}.png")
    paths = sorted(slides.iterdir())
    sources = [_with_mpp(source) for source in sources_of(paths)]

    plan = plan_extraction(sources, settings_of(stain_norm="reinhard"), tmp_path / "out")
    prepare(plan)
    extract_to_folder(plan, FakeEngine)

    outcomes = {row["slide"]: row["outcome"] for row in plan.outcomes}
    assert outcomes["good"] == "done"
    assert outcomes["glass"] == "empty"
    assert outcomes["grey"] == "failed"
    row = next(row for row in plan.failures if row["slide"] == "grey")
    assert row["code"] == "STAIN_UNKNOWN"
    assert "of one colour (--stain-norm reinhard)" in row["message"]
    assert "without --stain-norm" in row["hint"]
    assert not feature_path(tmp_path / "out", "grey").exists()


def test_ready_made_tiles_are_normalised_one_by_one_and_those_left_are_named(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "tiles/TUM"
    folder.mkdir(parents=True)
    image = render_tile(tissue_tile("TUM", seed=1, size_px=96), StainProfile())
    Image.fromarray(image).save(folder / "a.png")
    Image.fromarray(np.full((96, 96, 3), 238, np.uint8)).save(folder / "glass.png")
    (folder / "bad.png").write_bytes(b"")

    first, again = (_extract_tiles(tmp_path / "tiles", tmp_path / "out") for _ in range(2))

    features = read_features(tmp_path / "out/features/TUM.h5")
    assert features.tiles["tile"].tolist() == ["TUM/a.png", "TUM/glass.png"]
    wanted = np.stack([normalise_stain(image), np.full_like(image, 238)])
    np.testing.assert_allclose(features.vectors, colour_vectors(wanted), rtol=1e-5)
    said = pd.read_csv(tmp_path / "out/tiles/TUM.csv", keep_default_na=False)
    assert said["stain"][0] == "normalised"
    assert said["stain"][1] == ""
    assert said["stain"][2].startswith("left as it is: its stain cannot be estimated: only 0")
    assert features.provenance["stain"] == {
        "method": "macenko", "estimated_from": "each tile", "left_as_they_are": 1,
    }  # fmt: skip
    for plan, outcome in ((first, "done"), (again, "skipped")):
        assert [(row["outcome"], row["stain_left"]) for row in plan.outcomes] == [(outcome, 1)]
    assert [item.status for item in verify_folder(tmp_path / "out")] == ["ok"]
    json.dumps(first.outcomes)


def _extract_tiles(folder: Path, out: Path) -> Plan:
    spec = TileSpec(size_px=96)
    sources = tile_set_sources(read_tile_set([folder]), spec)
    settings = settings_of(spec, ready_made=True, stain_norm="macenko")
    plan = plan_extraction(sources, settings, out)
    prepare(plan)
    extract_to_folder(plan, FakeEngine)
    return plan


def test_a_slide_whose_stain_is_unknown_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.tiff"
    write_slide(path, seed=0, size_px=(300, 300), kind="a", downsamples=(2,))
    closed = []
    monkeypatch.setattr(SlideTiles, "close", lambda tiles: closed.append(tiles))
    monkeypatch.setattr("histokeras.features.stained.fit_stain", _interrupt)

    with pytest.raises(KeyboardInterrupt):
        open_noted(sources_of([path])[0], "macenko")
    assert len(closed) == 1


def _interrupt(*args: object) -> None:
    raise KeyboardInterrupt
