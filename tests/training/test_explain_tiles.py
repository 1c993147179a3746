from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.errors import SlideError, TableError
from histokeras.slides.synthetic import write_pyramid
from histokeras.tiles.grid import TileSpec
from histokeras.training.explain_tiles import Search, certain_tiles, find_tiles
from histokeras.types import Mpp

CLASSES = ("a", "b")


def search(run: Path, **changes: Any) -> Search:
    known: dict[str, Any] = {
        "run": run, "spec": TileSpec(size_px=32, mpp=Mpp(0.5)), "ready_made": False,
        "resize": False, "classes": CLASSES,
    }  # fmt: skip
    return Search(**{**known, **changes})


def predictions(prob_a: list[float]) -> pd.DataFrame:
    n = len(prob_a)
    table = pd.DataFrame({"minx": np.arange(n) * 32, "miny": 0, "width": 32, "height": 32})
    return table.assign(prob_a=prob_a, prob_b=1 - np.array(prob_a))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with the predictions of one slide, and that slide beside it."""
    folder = tmp_path / "run"
    (folder / "predictions").mkdir(parents=True)
    predictions([0.9, 0.2, 0.6, 0.4]).to_csv(folder / "predictions" / "S1.csv", index=False)
    pd.DataFrame({"slide_id": ["S1"], "label": ["b"], "split": ["train"]}).to_csv(
        folder / "slides.csv", index=False
    )
    pixels = np.repeat(np.arange(128, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    write_pyramid(tmp_path / "S1.tiff", pixels, mpp=0.5, downsamples=(), lossless=True)
    return folder


def test_the_most_certain_tiles_of_each_class_come_in_turn(run: Path) -> None:
    found = find_tiles([run.parent / "S1.tiff"], search(run, n=3))

    assert [item.place.x for item in found.tiles] == [0, 32, 64]
    assert {(item.place.label, item.place.split) for item in found.tiles} == {("b", "train")}
    # Column x of the slide has the value x everywhere.
    image = found.tiles[2].read()
    assert image.shape == (32, 32, 3)
    assert image[0, :3, 0].tolist() == [64, 65, 66]
    of_b = find_tiles([run.parent / "S1.tiff"], search(run, class_name="b", n=2))
    assert [item.place.x for item in of_b.tiles] == [32, 96]


def test_two_tiles_of_a_slide_before_the_third() -> None:
    rows = pd.concat([
        predictions([0.99, 0.98, 0.97]).assign(slide_id="S1"),
        predictions([0.6, 0.55]).assign(slide_id="S2"),
    ])  # fmt: skip

    chosen = certain_tiles(rows, search(Path("run"), n=4))

    assert chosen["slide_id"].tolist() == ["S1", "S1", "S2", "S2"]


def test_a_table_names_tiles_and_bad_ones_are_told(run: Path, tmp_path: Path) -> None:
    slide, table = tmp_path / "S1.tiff", tmp_path / "tiles.csv"

    def named(text: str) -> Any:
        table.write_text(text)
        return find_tiles([slide], search(run, tiles=table))

    assert [item.place.x for item in named("x,y\n5,0\n64,32\n").tiles] == [5, 64]
    assert [item.place.x for item in named("slide_id,x,y\nS1.tiff,5,0\nS2,7,0\n").tiles] == [5]
    (item,) = named("x,y\n100,0\n").tiles
    with pytest.raises(SlideError, match="x=100 y=0 does not lie within 128 x 64"):
        item.read()
    assert "names no tile" in str(named("slide_id,x,y\nS9,5,0\n").failures[0][1])
    with pytest.raises(TableError, match="row 3: `y` is no place"):
        named("x,y\n5,0\n5,left\n")


def test_inputs_that_give_nothing_are_listed_and_the_others_go_on(run: Path) -> None:
    other = run.parent / "S2.tiff"
    other.write_bytes((run.parent / "S1.tiff").read_bytes())

    found = find_tiles([run.parent / "none.svs", other, run.parent / "S1.tiff"], search(run, n=1))

    codes = {name: error.code for name, error in found.failures}
    assert codes == {"none.svs": "SLIDE_NOT_FOUND", "S2": "PREDICTIONS_MISSING"}
    assert len(found.tiles) == 1


def test_of_folders_of_images_each_subfolder_has_its_turn(run: Path, tmp_path: Path) -> None:
    for label, n in (("a", 9), ("b", 2)):
        (tmp_path / "tiles" / label).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", (32, 32)).save(tmp_path / "tiles" / label / f"{i}.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "large.png")

    found = find_tiles([tmp_path / "tiles"], search(run, n=4))
    (large,) = find_tiles([tmp_path / "large.png"], search(run)).tiles
    (shrunk,) = find_tiles([tmp_path / "large.png"], search(run, resize=True)).tiles

    assert sorted(item.place.label for item in found.tiles) == ["a", "a", "b", "b"]
    assert found.tiles[0].place.name.startswith("a_")
    with pytest.raises(SlideError, match="40 x 40 px; tiles of this run have 32 x 32"):
        large.read()
    assert shrunk.read().shape == (32, 32, 3)


def test_a_run_on_ready_made_tiles_takes_images_alone(run: Path, tmp_path: Path) -> None:
    for name in ("S3.svs", "S4.tif"):
        (tmp_path / name).write_bytes((tmp_path / "S1.tiff").read_bytes())

    found = find_tiles([tmp_path / "S3.svs", tmp_path / "S4.tif"], search(run, ready_made=True))

    assert [(name, error.code) for name, error in found.failures] == [("S3", "CONFIG_MISMATCH")]
    assert [item.place.tile for item in found.tiles] == ["S4.tif"]
