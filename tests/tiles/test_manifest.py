from pathlib import Path

import numpy as np
import pytest

from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import write_pyramid
from histokeras.tiles.cut import cut_tiles
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.manifest import empty_reason, finish_manifest
from histokeras.tiles.plan import plan_tiles


def test_what_was_read_is_written_down(made_slide: Path) -> None:
    with open_slide(made_slide) as slide:
        plan = plan_tiles(slide, TileSpec(size_px=100))
    first, second, *others = plan.candidates.tolist()

    manifest = finish_manifest(plan, {second: 0.26, first: 0.25} | dict.fromkeys(others, 0.0))

    rows = manifest.loc[[first, second], ["background", "kept", "reason"]].to_numpy().tolist()
    assert rows == [[0.25, True, ""], [0.26, False, "background"]]
    assert manifest["kept"].sum() == len(plan.candidates) - 1
    glass = manifest[manifest["reason"] == "overview"]
    assert len(glass) == len(manifest) - len(plan.candidates)
    assert glass["background"].isna().all()
    assert not plan.manifest["kept"].any()


def test_a_candidate_that_was_not_read_is_refused(made_slide: Path) -> None:
    with open_slide(made_slide) as slide:
        plan = plan_tiles(slide, TileSpec(size_px=100))
    rows = plan.candidates.tolist()

    with pytest.raises(ValueError, match=f"{len(rows)} candidates. Received: 1 rows"):
        finish_manifest(plan, {rows[0]: 0.1})


def reason(path: Path, image: np.ndarray, **options: object) -> tuple[str, str] | None:
    write_pyramid(path, image, mpp=0.5, downsamples=(2,), lossless=True)
    with open_slide(path) as slide:
        tiles = cut_tiles(slide, TileSpec(size_px=100, **options), workers=1)  # type: ignore[arg-type]
        return empty_reason(tiles.plan, tiles.manifest)


def test_an_empty_slide_says_which_kind_of_empty(tmp_path: Path) -> None:
    glass = np.full((300, 300, 3), 245, np.uint8)
    halves = glass.copy()
    halves[:, ::2] = (200, 100, 150)
    tissue = np.full((300, 300, 3), (200, 100, 150), np.uint8)
    islands = glass.copy()
    islands[40:60, 40:60] = (200, 100, 150)

    none = reason(tmp_path / "glass.tiff", glass)
    unread = reason(tmp_path / "otsu.tiff", glass, tissue="otsu")
    few = reason(tmp_path / "halves.tiff", halves)
    sparse = reason(tmp_path / "sparse.tiff", islands)
    small = reason(tmp_path / "small.tiff", tissue[:90])

    assert none is not None
    assert none[0] == "NO_TISSUE"
    assert unread is not None
    assert unread[0] == "NO_TISSUE"
    assert few is not None
    assert few[0] == "NO_TILES"
    assert "none of 9 tiles has a background of at most 0.25" in few[1]
    assert sparse is not None
    assert sparse[0] == "NO_TILES"
    assert "the mask covers 1.1%" in sparse[1]
    assert "quartiles of the 9 tiles read: 0.50, 0.50, 0.50, 0.50, 0.50" in few[1]
    assert small is not None
    assert small[0] == "TOO_SMALL"
    assert "300 x 90 px hold no whole tile of 100 px" in small[1]
    assert reason(tmp_path / "tissue.tiff", tissue) is None


def test_regions_that_hold_no_tile_are_said_to(tmp_path: Path) -> None:
    image = np.full((300, 300, 3), (200, 100, 150), np.uint8)
    write_pyramid(tmp_path / "a.tiff", image, mpp=0.5, downsamples=())
    ring = "[[0, 0], [50, 0], [50, 50], [0, 0]]"
    (tmp_path / "a.geojson").write_text(f'{{"type": "Polygon", "coordinates": [{ring}]}}')

    with open_slide(tmp_path / "a.tiff") as slide:
        spec = TileSpec(size_px=100, tissue="geojson")
        tiles = cut_tiles(slide, spec, annotations=tmp_path, workers=1)
        found = empty_reason(tiles.plan, tiles.manifest)

    assert found is not None
    assert found[0] == "NO_TILES"
    assert "lies inside the drawn regions by 75%" in found[1]
