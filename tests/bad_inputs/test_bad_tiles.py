"""Corrupt tiles by leave of --max-bad-tiles: left out, counted, listed; never passed over."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from histokeras.cli.main import main
from histokeras.errors import SlideError
from histokeras.features.extract import extract_to_folder
from histokeras.features.plan import Plan, feature_path, plan_extraction, prepare
from histokeras.features.settings import FeatureSettings
from histokeras.features.sources import SlideSource
from histokeras.features.store import read_features
from histokeras.features.texture_engine import TextureEngine
from histokeras.slides.handle import Handle
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import paint_slide
from histokeras.tiles.cut import cut_tiles
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.manifest_file import read_manifest
from tests.bad_inputs.slide_files import spoil_tile, write_svs

SPEC = TileSpec(size_px=128, mpp=0.5)
# Five stored tiles a row: at x=256 y=128 and x=0 y=256.
BAD = (7, 10)
PLACES = [(256, 128), (0, 256)]


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good slide, and the same with two corrupt tiles at level 0."""
    folder = tmp_path_factory.mktemp("slides")
    image = paint_slide(seed=1, size_px=(640, 512), tissue_share=1)
    for name in ("good", "bad"):
        write_svs(folder / f"{name}.svs", image)
    for index in BAD:
        spoil_tile(folder / "bad.svs", index)
    return folder


def tile(slides: Path, output: Path, *options: object) -> Result:
    words = ["tile", slides, "-o", output, "--tile-px", 128, *options]
    return CliRunner().invoke(main, [str(word) for word in words])


def extract(slides: Path, output: Path, max_bad_tiles: int) -> Plan:
    sources = [
        SlideSource(path=path, spec=SPEC, slide_id=path.stem, max_bad_tiles=max_bad_tiles)
        for path in sorted(slides.iterdir())
    ]
    settings = FeatureSettings(
        backbone="stain-texture", weights="none", weights_sha256="", tile=SPEC
    )
    plan = plan_extraction(sources, settings, output)
    prepare(plan)
    extract_to_folder(plan, TextureEngine)
    return plan


def outcomes(plan: Plan) -> dict[str, tuple[str, int]]:
    return {row["slide"]: (row["outcome"], row.get("tiles", 0)) for row in plan.outcomes}


def test_tile_leaves_corrupt_tiles_out_as_far_as_it_may(slides: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    strict, enough = tile(slides, out), tile(slides, out, "--max-bad-tiles", 2)
    again, fewer = tile(slides, out, "--max-bad-tiles", 5), tile(slides, out, "--max-bad-tiles", 1)

    assert (strict.exit_code, enough.exit_code, again.exit_code) == (4, 0, 0)
    assert "TILE_CORRUPT slide `bad.svs`, x=" in strict.stderr
    for result in (enough, again):
        assert "2 corrupt tile(s) left out, 18 of 20 tiles kept" in result.stderr
    assert "(finished before with the same settings)" in again.stderr
    # What was left out with leave for two is no whole slide where one is allowed.
    assert fewer.exit_code == 4
    assert "one corrupt tile more than the 1 of --max-bad-tiles" in fewer.stderr
    assert "good: skipped" in fewer.stderr


def test_left_out_tiles_stand_in_manifest_record_and_failures(slides: Path, tmp_path: Path) -> None:
    tile(slides, tmp_path, "--max-bad-tiles", 2)
    tile(slides, tmp_path, "--max-bad-tiles", 2)

    manifest = read_manifest(tmp_path / "tiles/bad.csv")
    bad = manifest[~manifest["kept"]]
    assert list(zip(bad["x"], bad["y"], strict=True)) == PLACES
    assert set(bad["reason"]) == {"corrupt"}
    assert bad["background"].isna().all()
    assert (tmp_path / "pictures/bad.png").exists()
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["slides"][0]["rejected"] == {"corrupt": 2}
    failures = pd.read_csv(tmp_path / "failures.csv")
    assert failures["code"].tolist() == ["TILE_LEFT_OUT"] * 2
    assert failures["message"].tolist() == [
        f"tile x={x} y={y} cannot be decoded and was left out." for x, y in PLACES
    ]


def test_features_know_which_tiles_they_lack(slides: Path, tmp_path: Path) -> None:
    strict = extract(slides, tmp_path, 0)
    assert outcomes(strict) == {"bad": ("failed", 0), "good": ("done", 20)}
    enough = extract(slides, tmp_path, 2)
    # A finished slide is not done again because the number changed.
    assert outcomes(enough) == {"bad": ("done", 18), "good": ("skipped", 20)}
    good, bad = (read_features(feature_path(tmp_path, name)) for name in ("good", "bad"))
    whole = good.tiles[["x", "y"]].apply(tuple, axis=1)
    np.testing.assert_array_equal(good.vectors[~whole.isin(PLACES)], bad.vectors)
    assert bad.provenance["slide"]["corrupt"] == list(BAD)
    assert bad.provenance["rejected"] == {"corrupt": 2}
    assert "corrupt" not in good.provenance["slide"]

    again = extract(slides, tmp_path, 9)
    assert outcomes(again) == {"bad": ("skipped", 18), "good": ("skipped", 20)}
    assert [row["code"] for row in again.failures] == ["TILE_LEFT_OUT"] * 2
    fewer = extract(slides, tmp_path, 1)
    assert outcomes(fewer) == {"bad": ("failed", 0), "good": ("skipped", 20)}
    assert "2 corrupt tile(s) were left out before" in fewer.notes[0]
    assert not feature_path(tmp_path, "bad").exists()


@pytest.mark.parametrize("tissue", ["luminance", "otsu"])
def test_a_corrupt_overview_rejects_no_tile(slides: Path, tmp_path: Path, tissue: str) -> None:
    path = tmp_path / "half.svs"
    path.write_bytes((slides / "good.svs").read_bytes())
    # The overview comes from the second level, three stored tiles a row.
    spoil_tile(path, 1, page=1)
    spec = TileSpec(size_px=128, mpp=0.5, tissue=tissue)
    with open_slide(slides / "good.svs") as good:
        wanted = cut_tiles(good, spec).manifest

    with open_slide(path) as slide:
        with pytest.raises(SlideError, match="cannot be decoded"):
            cut_tiles(slide, spec)
        tiles = cut_tiles(slide, spec, max_bad_tiles=1)

    assert any(note.startswith("OVERVIEW_CORRUPT: ") for note in tiles.plan.notes)
    # Otsu's threshold is found without the hole, so a tile more may be kept, and none less.
    assert not (wanted["kept"] & ~tiles.manifest["kept"]).any()
    if tissue == "luminance":
        assert tiles.manifest["kept"].equals(wanted["kept"])
        assert tiles.manifest["background"].equals(wanted["background"])


class Sticky:
    """A source like OpenSlide's: after the first error every read fails. Row y=0 is corrupt."""

    def __init__(self, opened: list[Any]) -> None:
        self.broken = self.closed = False
        self.readers = 0
        self._lock = threading.Lock()
        opened.append(self)

    def read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        assert not self.closed
        with self._lock:
            self.readers += 1
        try:
            threading.Event().wait(0.0005)
            self.broken = self.broken or location[1] == 0
            if self.broken:
                raise ValueError("corrupt")
            return np.zeros((1, 1, 3), np.uint8)
        finally:
            with self._lock:
                self.readers -= 1

    def close(self) -> None:
        # Closing under a reader can crash.
        assert self.readers == 0
        self.closed = True


def test_threads_read_on_while_broken_handles_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"slide")
    opened: list[Sticky] = []
    handle = Handle(Sticky(opened), lambda: Sticky(opened))

    def read(place: int) -> bool:
        try:
            handle.read(tmp_path / "a", (place, place % 5), 0, (1, 1))
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        fine = list(pool.map(read, range(400)))
    handle.close()

    # Exactly the corrupt places fail: no error of one thread counts for another's place.
    assert fine == [place % 5 != 0 for place in range(400)]
    assert all(source.closed for source in opened)
