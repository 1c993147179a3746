import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from histokeras.errors import SlideError
from histokeras.slides.reader import open_slide
from histokeras.tiles.cut import TilePlan, cut_tiles, plan_tiles, read_candidates
from histokeras.tiles.grid import TileSpec

SPEC = TileSpec(size_px=100)


def test_any_number_of_threads_gives_the_same_manifest(made_slide: Path) -> None:
    with open_slide(made_slide) as slide:
        manifests = [cut_tiles(slide, SPEC, workers=n).manifest for n in (1, 3)]

    pd.testing.assert_frame_equal(*manifests)


def test_a_tile_set_reads_its_kept_tiles(made_slide: Path) -> None:
    with open_slide(made_slide) as slide:
        tiles = cut_tiles(slide, SPEC)
        kept = tiles.manifest[tiles.manifest["kept"]]
        image = tiles.image(2)
        x, y = kept.iloc[2][["x", "y"]]

        assert len(tiles) == len(kept) > 20
        np.testing.assert_array_equal(image, slide.read_region((x, y), 0, (100, 100)))
        with pytest.raises(IndexError, match=f"Received: i={len(tiles)}"):
            tiles.image(len(tiles))
        assert f"{len(tiles)} of 120 tiles kept" in tiles._repr_html_()
        assert f"{len(tiles)} of 120 tiles kept, 100 px at 0.5 um per pixel" in repr(tiles)


def test_the_default_spec_is_used_without_one(made_slide: Path) -> None:
    with open_slide(made_slide) as slide:
        assert cut_tiles(slide).spec == TileSpec()


def test_each_kept_tile_is_handed_on_once(made_slide: Path) -> None:
    seen: dict[int, int] = {}
    with open_slide(made_slide) as slide:
        plan = plan_tiles(slide, SPEC)
        backgrounds = read_candidates(
            plan, workers=2, on_kept=lambda row, image: seen.update({row: image.shape[0]})
        )

    assert set(seen) == {row for row, value in backgrounds.items() if value <= 0.25}
    assert set(seen.values()) == {100}


def test_a_broken_tile_ends_the_slide_soon_and_leaves_no_thread(
    made_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def read(self: TilePlan, row: int) -> np.ndarray:
        calls.append(row)
        time.sleep(0.001)
        raise SlideError("x=5 y=7: cannot be decoded.", code="TILE_CORRUPT")

    with open_slide(made_slide) as slide:
        plan = plan_tiles(slide, TileSpec(size_px=20))
        monkeypatch.setattr(TilePlan, "read", read)
        with pytest.raises(SlideError, match="x=5 y=7"):
            read_candidates(plan, workers=2)

    assert len(calls) < 20 < len(plan.candidates)
    assert not [t for t in threading.enumerate() if t.name.startswith("tiles")]
