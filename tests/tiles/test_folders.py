from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histokeras.errors import SlideError, TableError
from histokeras.tiles.folders import read_image, read_tile_set

COLOUR = (200, 100, 150)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "tiles"
    for name in ("tum/b.png", "tum/a.jpg", "str/deep/c.tif", "d.bmp", "str/e.webp"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), COLOUR).save(root / name)
    (root / "tum/notes.txt").write_text("x")
    (root / "tum/.hidden.png").write_bytes(b"x")
    return root


def table(folder: Path, text: str) -> Path:
    path = folder.parent / "tiles.csv"
    path.write_text(text)
    return path


def test_the_folder_that_holds_a_tile_is_its_label(folder: Path) -> None:
    tiles = read_tile_set([folder])

    expected = ["d.bmp", "str/deep/c.tif", "str/e.webp", "tum/a.jpg", "tum/b.png"]
    assert tiles["tile"].tolist() == expected
    assert tiles["label"].tolist() == ["", "deep", "str", "tum", "tum"]
    assert tiles["path"][3] == str(folder / "tum/a.jpg")
    assert set(tiles["patient_id"]) == {""}


def test_a_table_gives_labels_and_ids_and_chooses_the_tiles(folder: Path) -> None:
    path = table(folder, "tile,label,case_id,mpp\ntum/b.png,X,001,0.5\nd.bmp,Y,002,\n")

    tiles = read_tile_set([folder], tile_table=path)

    columns = ["tile", "label", "patient_id", "slide_id", "mpp"]
    assert tiles[columns].to_numpy().tolist() == [
        ["d.bmp", "Y", "002", "", ""],
        ["tum/b.png", "X", "001", "", "0.5"],
    ]
    assert tiles.attrs["not_in_table"] == 3


def test_a_unique_file_name_will_do(folder: Path) -> None:
    tiles = read_tile_set([folder], tile_table=table(folder, "tile,label\nc.tif,X\n./d.bmp,Y\n"))

    assert tiles["tile"].tolist() == ["d.bmp", "str/deep/c.tif"]


def test_rows_without_image_are_counted_and_named(folder: Path) -> None:
    path = table(folder, "tile\n" + "".join(f"gone{i}.png\n" for i in range(5)) + "d.bmp\n")

    with pytest.raises(
        TableError, match=r"5 of 6 tiles .*`gone0\.png`, .*`gone2\.png`\."
    ) as caught:
        read_tile_set([folder], tile_table=path)

    assert caught.value.code == "TILES_MISSING"


def test_a_tile_named_twice_is_refused(folder: Path) -> None:
    path = table(folder, "tile,label\nd.bmp,X\ntum/b.png,Z\nd.bmp,Y\n")

    with pytest.raises(TableError, match="rows 2 and 4 name the same tile"):
        read_tile_set([folder], tile_table=path)


def test_a_table_needs_its_key(folder: Path) -> None:
    with pytest.raises(TableError, match=r"lacks column\(s\) \['tile'\]"):
        read_tile_set([folder], tile_table=table(folder, "name,label\nd.bmp,X\n"))


def test_folders_without_tiles_and_twins_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="holds no tile image") as caught:
        read_tile_set([tmp_path / "none"])
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / "d.bmp").write_bytes((folder / "d.bmp").read_bytes())
    with pytest.raises(TableError, match=r"two tiles are called `d\.bmp`"):
        read_tile_set([folder, twin])

    assert caught.value.code == "TILES_MISSING"


def test_the_same_folder_twice_is_one_folder(folder: Path) -> None:
    with pytest.raises(SlideError, match="holds no tile image"):
        read_tile_set([folder, folder])


def test_images_become_rgb_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[:, 3:] = (*COLOUR, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.new("CMYK", (6, 4), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=95)

    image = read_image(tmp_path / "a.png")
    cmyk = read_image(tmp_path / "c.jpg")

    assert (image[:, :3] == 255).all()
    assert (image[:, 3:] == COLOUR).all()
    assert cmyk.shape == (4, 6, 3)
    assert cmyk.mean(axis=(0, 1)) == pytest.approx((255, 0, 0), abs=12)


@pytest.mark.parametrize("mode", ["L", "I;16", "F", "LA"])
def test_images_without_colours_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "F" else "a.png")
    Image.new(mode, (6, 4)).save(path)

    with pytest.raises(SlideError, match="three colours") as caught:
        read_image(path)

    assert caught.value.code == "NOT_BRIGHTFIELD"


def test_a_damaged_image_is_named(folder: Path) -> None:
    data = (folder / "tum/b.png").read_bytes()
    (folder / "tum/b.png").write_bytes(data[: len(data) // 2])
    (folder / "tum/a.jpg").write_bytes(b"nothing")

    for name in ("b.png", "a.jpg"):
        with pytest.raises(SlideError, match=f"`{name}` cannot be read") as caught:
            read_image(folder / "tum" / name)
        assert caught.value.code == "TILE_CORRUPT"


def test_real_tiles_are_found_and_joined_with_their_table(real_data: Path) -> None:
    tiles = read_tile_set(
        [real_data / "tiles" / "lc25000_lung_224"],
        tile_table=real_data / "tables" / "lc25000_lung_tiles.csv",
    )

    assert len(tiles) == 1200
    assert tiles["label"].value_counts().to_dict() == dict.fromkeys(
        ("lung_aca", "lung_n", "lung_scc"), 400
    )
    assert tiles["patient_id"].nunique() == 595
    assert read_image(Path(tiles["path"][0])).shape == (224, 224, 3)
