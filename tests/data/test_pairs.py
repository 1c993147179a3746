from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from histokeras.data.masks import MaskCoding
from histokeras.data.open_pair import open_pair
from histokeras.data.pairs import find_pairs
from histokeras.errors import ConfigError, SlideError, TableError
from tests.data.pair_files import codes, save, save_geojson, save_text, square

BLANK = np.full((40, 50, 3), 240, np.uint8)


def add(folder: Path, name: str, mask: str, seed: int = 0) -> None:
    save(folder / "images" / name, BLANK)
    save(folder / "masks" / mask, codes(seed) * 255)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a.png", "a.png"), ("a.png", "a_mask.tif"), ("a.jpg", "a-labels.png"),
        ("a.png", "a.seg.png"), ("a.png", "mask_a.png"), ("image_7.png", "mask_7.png"),
        ("a_mask.png", "a_mask.png"), ("a.png", "a/mask.png"), ("x/a.png", "y/a_GT.png"),
        # What `segment` calls the outlines and masks of such a slide.
        ("ä 1.png", "%C3%A4 1.png"), ("ä 1.png", "%C3%A4 1.mask.tif"),
    ],
)  # fmt: skip
def test_a_mask_is_known_by_the_name_of_its_image(tmp_path: Path, image: str, mask: str) -> None:
    add(tmp_path, image, mask)

    found = find_pairs(tmp_path / "images", tmp_path / "masks")

    assert [pair.image_id for pair in found.pairs] == [Path(image).stem]
    assert found.classes == ("background", "foreground")
    assert found.positive == "foreground"


def test_one_folder_may_hold_images_and_masks(tmp_path: Path) -> None:
    save(tmp_path / "a.png", BLANK)
    save(tmp_path / "a_mask.png", codes())
    save(tmp_path / "b.png", BLANK)
    save_geojson(tmp_path / "b.geojson", ("Tumor", [square(0, 0, 9)]))
    (tmp_path / "a_mask.png").rename(tmp_path / "c_mask.png")

    found = find_pairs(tmp_path)

    assert [(p.image_id, p.mask.name) for p in found.pairs] == [("b", "b.geojson")]
    assert found.without_mask == ("a.png",)
    assert found.without_image == ("c_mask.png",)
    assert "1 mask(s) without an image are left out: c_mask.png." in found.notes


def test_masks_may_lie_in_a_folder_above_or_below_the_images(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", BLANK)
    save(tmp_path / "images/masks/a.png", codes())
    save(tmp_path / "b_mask.png", codes())
    save(tmp_path / "images/b.png", BLANK)

    below = find_pairs(tmp_path / "images", tmp_path / "images/masks")

    assert [pair.image_id for pair in below.pairs] == ["a"]
    (tmp_path / "images/masks/a.png").unlink()
    above = find_pairs(tmp_path / "images", tmp_path)
    assert [pair.mask.name for pair in above.pairs] == ["b_mask.png"]


def test_what_is_said_of_other_masks_is_refused(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "a.png")

    with pytest.raises(ConfigError, match="`--roi` is of drawn regions"):
        find_pairs(tmp_path / "images", tmp_path / "masks", coding=MaskCoding(roi="x"))
    with pytest.raises(ConfigError, match="`--drawn-class` is of drawn regions"):
        find_pairs(tmp_path / "images", tmp_path / "masks", coding=MaskCoding(only=("x",)))
    (tmp_path / "masks/a.png").unlink()
    save_geojson(tmp_path / "masks/a.geojson", ("Tumor", [square(0, 0, 9)]))
    with pytest.raises(ConfigError, match="are of pictures; the masks are drawn regions"):
        find_pairs(tmp_path / "images", tmp_path / "masks", coding=MaskCoding(ignore=(3,)))


def test_two_masks_of_an_image_are_an_error(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "a.png")
    add(tmp_path, "a.png", "a_mask.png")

    with pytest.raises(TableError, match=r"`a` has two masks: a\.png and a_mask\.png"):
        find_pairs(tmp_path / "images", tmp_path / "masks")


def test_names_that_do_not_fit_are_shown(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "b.png")

    with pytest.raises(SlideError, match=r"images are called `a`; there is `b\.png`"):
        find_pairs(tmp_path / "images", tmp_path / "masks")


def test_a_table_says_what_belongs_together_and_whose_it_is(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "one.png")
    add(tmp_path, "TCGA-21-5784-01Z-00-DX1.png", "two.png", 1)
    table = tmp_path / "pairs.csv"
    table.write_text(
        "image,mask,case_id,mpp,split,label\n"
        "images/TCGA-21-5784-01Z-00-DX1.png,masks/two.png,,,test,yes\n"
        "images/a.png,masks/one.png,P1,0.5,train,no\n"
    )

    found = find_pairs(None, table=table)

    first, second = found.pairs
    assert (first.patient_id, first.mpp) == ("TCGA-21-5784", None)
    assert (second.patient_id, second.mpp, second.slide_id) == ("P1", 0.5, "a")
    assert list(found.table["split"]) == ["test", "train"]
    assert list(found.table["mpp"]) == ["", "0.5"]


def test_a_table_with_a_missing_file_or_a_second_row_says_where(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "a.png")
    table = tmp_path / "pairs.csv"

    table.write_text("image,mask\nimages/a.png,masks/b.png\n")
    with pytest.raises(SlideError, match=r"row 2: no file `masks/b\.png`"):
        find_pairs(None, table=table)
    table.write_text("image,mask\nimages/a.png,masks/a.png\nimages/a.png,masks/a.png\n")
    with pytest.raises(TableError, match="rows 2 and 3 are both `a`"):
        find_pairs(None, table=table)
    table.write_text("image,mask,mpp\nimages/a.png,masks/a.png,half\n")
    with pytest.raises(TableError, match="row 2: `mpp` is no number"):
        find_pairs(None, table=table)


def test_a_picture_and_its_mask_must_be_of_one_size_unless_scaled_masks_are_asked_for(
    tmp_path: Path,
) -> None:
    add(tmp_path, "a.png", "a.png")
    save(tmp_path / "masks/a.png", codes(shape=(20, 25)))

    with pytest.raises(TableError, match=r"50 x 40 px, its mask `a\.png` 25 x 20\. .*--scaled"):
        find_pairs(tmp_path / "images", tmp_path / "masks")
    scaled = MaskCoding(scaled=True)
    assert len(find_pairs(tmp_path / "images", tmp_path / "masks", coding=scaled).pairs) == 1
    save(tmp_path / "masks/a.png", codes(shape=(20, 30)))
    with pytest.raises(TableError, match="other proportions"):
        find_pairs(tmp_path / "images", tmp_path / "masks", coding=scaled)


def test_pictures_beside_drawn_regions_are_asked_about(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "a.png")
    save(tmp_path / "images/b.png", BLANK)
    save_geojson(tmp_path / "masks/b.geojson", ("Tumor", [square(0, 0, 9)]))

    with pytest.raises(ConfigError, match=r"1 mask\(s\) are drawn regions \(`b\.geojson`\)"):
        find_pairs(tmp_path / "images", tmp_path / "masks")


def test_the_content_id_changes_with_what_decides_and_with_nothing_else(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "a.png")
    folders = tmp_path / "images", tmp_path / "masks"
    first = find_pairs(*folders).content_id

    save_text(tmp_path / "masks/a.txt", codes(0) * 255)
    (tmp_path / "masks/a.png").unlink()
    as_text = find_pairs(*folders).content_id
    save_text(tmp_path / "masks/a.txt", codes(0) * 255)
    assert find_pairs(*folders).content_id == as_text != first
    named = MaskCoding(name="nuclei")
    assert find_pairs(*folders, coding=named).content_id != as_text
    save_text(tmp_path / "masks/a.txt", codes(1) * 255)
    assert find_pairs(*folders).content_id != as_text


def test_a_mask_that_changed_is_refused_when_it_is_read(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "a.png")
    found = find_pairs(tmp_path / "images", tmp_path / "masks")
    save(tmp_path / "masks/a.png", codes(n=3))

    with (
        open_pair(found.pairs[0], found.decoding, mpp=None) as pair,
        pytest.raises(TableError, match="px have the value 1, which means no class"),
    ):
        pair.read(0, 0, 10, 10)
    bigger = replace(found.pairs[0], mask=save(tmp_path / "b.png", codes(shape=(9, 9)) * 255))
    with (
        open_pair(bigger, found.decoding, mpp=None) as pair,
        pytest.raises(TableError, match="other proportions"),
    ):
        pair.read(0, 0, 10, 10)


def test_real_nuclei_have_their_known_prevalence(real_data: Path) -> None:
    folder = real_data / "masks/monuseg"

    found = find_pairs(folder / "images", folder / "masks")

    shares = {}
    for pair in found.pairs:
        with open_pair(pair, found.decoding, mpp=None) as opened:
            assert opened.size_px == (1000, 1000)
            counts = opened.counts(256)
            image, mask = opened.read(0, 0, 1000, 1000)
            assert counts.sum() == 1_000_000
            assert counts[..., 1].sum() == mask.sum()
            shares[pair.patient_id] = mask.mean()
            assert image[mask == 1].mean() < image[mask == 0].mean()
    assert list(shares) == [
        "TCGA-21-5784", "TCGA-21-5786", "TCGA-38-6178", "TCGA-49-4488", "TCGA-A7-A13E",
        "TCGA-AR-A1AK",
    ]  # fmt: skip
    assert list(shares.values()) == pytest.approx(
        [0.08567, 0.238901, 0.144878, 0.255682, 0.122432, 0.15408], abs=1e-9
    )
