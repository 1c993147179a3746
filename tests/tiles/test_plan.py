import json
from pathlib import Path

import numpy as np
import pytest

from histokeras.errors import ConfigError, SlideError
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import write_pyramid, write_slide
from histokeras.tiles import plan as plan_module
from histokeras.tiles.cut import cut_tiles
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.plan import MANIFEST_COLUMNS, background_fraction, plan_tiles


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (400, 500, 3), dtype=np.uint8)


def write(path: Path, image: np.ndarray, mpp: float, downsamples: tuple[int, ...] = ()) -> Path:
    write_pyramid(path, image, mpp=mpp, downsamples=downsamples, lossless=True)
    return path


def test_the_limit_of_the_write_up_is_exact_to_the_pixel(made_slide: Path) -> None:
    image = np.full(299 * 299 * 3, 100, np.uint8).reshape(-1, 3)
    with open_slide(made_slide) as slide:
        plan = plan_tiles(slide, TileSpec())
    image[:22_350] = 255
    at_limit = plan.judge(image.reshape(299, 299, 3))
    image[:22_351] = 255
    above = plan.judge(image.reshape(299, 299, 3))

    assert at_limit == (22_350 / 89_401, True, "")
    assert above == (22_351 / 89_401, False, "background")


def test_luminance_220_is_background_and_219_is_not() -> None:
    assert background_fraction(np.full((4, 4, 3), 219, np.uint8)) == 0
    assert background_fraction(np.full((4, 4, 3), 220, np.uint8)) == 1
    # 0.299 * 255 + 0.587 * 215 + 0.114 * 152 = 219.8 rounds to 220.
    assert background_fraction(np.array([[[255, 215, 152]]], np.uint8)) == 1
    assert background_fraction(np.array([[[255, 214, 152]]], np.uint8)) == 0


@pytest.mark.parametrize("mpp", [0.499, 0.5015, 0.504])
def test_a_level_within_the_tolerance_is_read_pixel_by_pixel(
    tmp_path: Path, noise: np.ndarray, mpp: float
) -> None:
    with open_slide(write(tmp_path / "a.tiff", noise, mpp)) as slide:
        plan = plan_tiles(slide, TileSpec(size_px=100))

        np.testing.assert_array_equal(plan.read(6), noise[100:200, 100:200])
    assert set(plan.manifest["mpp"]) == {mpp}
    assert set(plan.manifest["size_level0_px"]) == {100}


@pytest.mark.parametrize("mpp", [0.2525, 0.26])
def test_a_pyramid_level_within_the_tolerance_is_read_pixel_by_pixel(
    tmp_path: Path, noise: np.ndarray, mpp: float
) -> None:
    with open_slide(write(tmp_path / "a.tiff", noise, mpp, (2,))) as slide:
        plan = plan_tiles(slide, TileSpec(size_px=50))
        level = slide.read_region((0, 0), 1, (250, 200))

        np.testing.assert_array_equal(plan.read(6), level[50:100, 50:100])
    assert plan.manifest.loc[6, ["x", "y", "size_level0_px", "level"]].tolist() == [
        100,
        100,
        100,
        1,
    ]
    assert set(plan.manifest["mpp"]) == {2 * mpp}


def test_a_finer_level_is_shrunk_by_area(tmp_path: Path, noise: np.ndarray) -> None:
    with open_slide(write(tmp_path / "a.tiff", noise, 0.25)) as slide:
        plan = plan_tiles(slide, TileSpec(size_px=50))

        tile = plan.read(6)
    means = noise[100:200, 100:200].reshape(50, 2, 50, 2, 3).mean(axis=(1, 3))
    # Pillow shrinks first across, then down, and rounds twice.
    assert np.abs(tile - means).max() <= 1
    assert plan.choice.resampled
    assert set(plan.manifest["mpp"]) == {0.5}


def test_coordinates_map_back_within_a_pixel(tmp_path: Path) -> None:
    image = np.full((1300, 1300, 3), 100, np.uint8)
    image[700:702, 900:902] = 0
    with open_slide(write(tmp_path / "a.tiff", image, 0.2525)) as slide:
        plan = plan_tiles(slide, TileSpec(size_px=299))

        tile = plan.read(3)
    x, y, side = plan.manifest.loc[3, ["x", "y", "size_level0_px"]]
    row, column = np.unravel_index(tile[..., 0].argmin(), (299, 299))

    assert (x, y, side) == (592, 592, 592)
    assert x + (column + 0.5) * side / 299 == pytest.approx(901, abs=1.5)
    assert y + (row + 0.5) * side / 299 == pytest.approx(701, abs=1.5)


def test_a_coarser_slide_is_refused(tmp_path: Path, noise: np.ndarray) -> None:
    with (
        open_slide(write(tmp_path / "a.tiff", noise, 0.53)) as slide,
        pytest.raises(SlideError, match="never enlarged") as caught,
    ):
        plan_tiles(slide, TileSpec(size_px=100))

    assert caught.value.code == "MAG_UNAVAILABLE"


def test_a_slide_without_mpp_is_refused(tmp_path: Path, noise: np.ndarray) -> None:
    write_pyramid(tmp_path / "a.tiff", noise, mpp=None, downsamples=())

    with (
        open_slide(tmp_path / "a.tiff") as slide,
        pytest.raises(SlideError, match="does not say") as caught,
    ):
        plan_tiles(slide, TileSpec(size_px=100))

    assert caught.value.code == "MPP_MISSING"


def test_overlapping_tiles_step_by_less_than_their_size(made_slide: Path) -> None:
    with open_slide(made_slide) as slide:
        plan = plan_tiles(slide, TileSpec(size_px=300, overlap_px=100))

    assert sorted(set(plan.manifest["x"])) == [0, 200, 400, 600, 800]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("lossless", [True, False])
def test_the_coarse_picture_never_loses_a_tile_that_its_pixels_keep(
    tmp_path: Path, seed: int, lossless: bool
) -> None:
    path = tmp_path / "a.tiff"
    write_slide(
        path,
        seed=seed,
        size_px=(900, 800),
        tissue_share=0.35,
        downsamples=(3, 15),
        lossless=lossless,
    )
    with open_slide(path) as slide:
        for size_px, limit in ((64, 0.05), (64, 0.25), (64, 0.6), (150, 0.25), (224, 0.9)):
            spec = TileSpec(size_px=size_px, max_background=limit)
            fast = cut_tiles(slide, spec, workers=1).manifest
            full = cut_tiles(slide, TileSpec(size_px=size_px, tissue="none"), workers=1).manifest

            assert (fast["kept"] == (full["background"] <= limit)).all()


def test_tiles_at_the_very_limit_survive_the_coarse_picture(tmp_path: Path) -> None:
    # A quarter of the pixels is white and the rest as bright as tissue can be.
    image = np.full((640, 640, 3), 219, np.uint8)
    image[::2, ::2] = 255
    bunched = np.full((640, 640, 3), 219, np.uint8)
    for x in range(0, 640, 64):
        bunched[:, x + 24 : x + 40] = 255
    for name, pixels in (("even", image), ("bunched", bunched)):
        write(tmp_path / f"{name}.tiff", pixels, 0.5, (2, 4, 8, 16))
        with open_slide(tmp_path / f"{name}.tiff") as slide:
            plan = plan_tiles(slide, TileSpec(size_px=64))
        assert len(plan.candidates) == 100


def test_empty_glass_is_not_read(made_slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_slide(made_slide) as slide:
        spec = TileSpec(size_px=100)
        plan = plan_tiles(slide, spec)
        full = cut_tiles(slide, TileSpec(size_px=100, tissue="none"), workers=1).manifest
        read: list[int] = []
        monkeypatch.setattr(plan_module.TilePlan, "read", lambda self, row: read.append(row))
        monkeypatch.setattr(plan_module.TilePlan, "judge", lambda self, _: (1.0, False, ""))
        cut_tiles(slide, spec, workers=1)

    empty = np.flatnonzero(full["background"] == 1)
    assert len(empty) > 20
    assert set(plan.manifest.loc[empty, "reason"]) == {"overview"}
    assert not set(read) & set(empty)
    assert sorted(read) == plan.candidates.tolist()


def test_without_a_cheap_coarse_picture_every_tile_is_a_candidate(
    made_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "is_cheap", lambda *_: False)

    with open_slide(made_slide) as slide:
        plan = plan_tiles(slide, TileSpec(size_px=100))
        otsu = plan_tiles(slide, TileSpec(size_px=100, tissue="otsu"))

    assert len(plan.candidates) == len(plan.manifest) == 120
    assert plan.thumbnail is None
    assert 0 < len(otsu.candidates) < 120


def test_otsu_takes_tiles_by_their_share_of_tissue(made_slide: Path) -> None:
    with open_slide(made_slide) as slide:
        strict = cut_tiles(slide, TileSpec(size_px=100, tissue="otsu"), workers=1).manifest
        none = cut_tiles(slide, TileSpec(size_px=100, tissue="none"), workers=1).manifest

    assert set(strict["reason"]) >= {"", "mask"}
    assert strict.loc[strict["reason"] == "mask", "background"].isna().all()
    # On a well stained slide both ways agree but for tiles at the limit.
    agree = strict["kept"] == (none["background"] <= 0.25)
    assert agree.mean() > 0.95


def test_none_keeps_every_whole_tile_and_measures_it(made_slide: Path) -> None:
    with open_slide(made_slide) as slide:
        manifest = cut_tiles(slide, TileSpec(size_px=100, tissue="none"), workers=1).manifest

    assert manifest["kept"].all()
    assert manifest["background"].between(0, 1).all()
    assert manifest["background"].max() == 1


def test_drawn_regions_restrict_the_tiles_and_the_pixels_still_judge(tmp_path: Path) -> None:
    image = np.full((400, 400, 3), (200, 100, 150), np.uint8)
    image[:100, 100:200] = 255
    path = write(tmp_path / "a.tiff", image, 0.5)
    # Tile (0, 0) and (100, 0) whole, of (0, 100) three quarters, of (100, 100) half.
    ring = [[0, 0], [200, 0], [200, 100], [100, 100], [100, 175], [0, 175], [0, 0]]
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    (drawn / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    spec = TileSpec(size_px=100, tissue="geojson")

    with open_slide(path) as slide:
        manifest = cut_tiles(slide, spec, annotations=drawn, workers=1).manifest
        plan = plan_tiles(slide, spec, annotations=drawn / "a.geojson")

    assert manifest.loc[manifest["kept"], ["x", "y"]].to_numpy().tolist() == [[0, 0], [0, 100]]
    assert manifest["reason"][1] in {"overview", "background"}
    assert (manifest["reason"][[2, 3, 5, 15]] == "annotation").all()
    assert len(plan.mask_id) == 64


def test_a_slide_without_its_drawing_is_an_error(made_slide: Path, tmp_path: Path) -> None:
    spec = TileSpec(tissue="geojson")

    with open_slide(made_slide) as slide:
        with pytest.raises(SlideError, match=r"made\.geojson: no such file") as caught:
            plan_tiles(slide, spec, annotations=tmp_path)
        with pytest.raises(ConfigError, match="cannot do without"):
            plan_tiles(slide, spec)
        with pytest.raises(ConfigError, match="belongs to tissue='geojson'"):
            plan_tiles(slide, TileSpec(), annotations=tmp_path)

    assert caught.value.code == "ANNOTATION_MISSING"


def test_the_manifest_has_its_columns_and_types(made_slide: Path) -> None:
    with open_slide(made_slide) as slide:
        manifest = plan_tiles(slide, TileSpec(size_px=100)).manifest

    assert tuple(manifest.columns) == MANIFEST_COLUMNS
    whole = manifest[["x", "y", "size_px", "size_level0_px", "level"]]
    assert set(whole.dtypes.astype(str)) == {"int64"}
    assert set(manifest["slide_id"]) == {"made"}
    assert not manifest["kept"].any()


def test_a_slide_smaller_than_a_tile_gives_an_empty_manifest(
    tmp_path: Path, noise: np.ndarray
) -> None:
    with open_slide(write(tmp_path / "a.tiff", noise, 0.5)) as slide:
        plan = plan_tiles(slide, TileSpec(size_px=450))

    assert len(plan.manifest) == 0
    assert tuple(plan.manifest.columns) == MANIFEST_COLUMNS
    assert len(plan.candidates) == 0


def test_the_real_slide_has_63_tiles_and_keeps_15(real_data: Path) -> None:
    with open_slide(real_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        manifest = cut_tiles(slide, TileSpec()).manifest

    assert len(manifest) == 63
    assert manifest["kept"].sum() == 15
    assert set(manifest["mpp"]) == {0.499}
    rejected = manifest.loc[manifest["reason"] == "background", "background"]
    assert rejected.min() == pytest.approx(0.2592, abs=5e-5)
