from pathlib import Path

import numpy as np
import pytest

from histokeras.data.mask_choice import choose_decoding
from histokeras.data.mask_codes import read_codes
from histokeras.data.masks import MaskCoding, read_mask
from histokeras.errors import ConfigError, TableError
from tests.data.pair_files import save


def table(folder: Path, text: str) -> str:
    path = folder / "codes.csv"
    path.write_text(text)
    return str(path)


REGIONS = (
    "group,overlay_order,GT_code,is_roi,color\n"
    'roi,0,254,1,"rgb(200,0,150)"\n'
    'tumour,1,1,0,"rgb(255,0,0)"\n'
    'stroma,2,2,0,"rgb(255,125,0)"\n'
    'necrosis,1,4,0,"rgb(255,255,0)"\n'
)


def test_a_table_with_regions_of_interest_ignores_them_and_what_lies_outside(
    tmp_path: Path,
) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 254, 1, 2, 4]], np.uint8))
    codes = read_codes(table(tmp_path, REGIONS))

    choice = choose_decoding([path], MaskCoding(codes=codes))
    grouped = choose_decoding([path], MaskCoding(codes=codes, group="necrosis")).decoding

    assert choice.decoding.classes == ("tumour", "stroma", "necrosis")
    assert read_mask(path, choice.decoding).tolist() == [[255, 255, 0, 1, 2]]
    assert "Code 0 is not in codes.csv" in choice.notes[0]
    assert (grouped.classes, grouped.positive) == (("rest", "necrosis"), "necrosis")
    assert read_mask(path, grouped).tolist() == [[255, 255, 0, 0, 1]]


def test_classes_in_no_group_are_ignored_and_an_absent_one_is_noted(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[1, 2, 1]], np.uint8))
    codes = read_codes(table(tmp_path, REGIONS))

    choice = choose_decoding([path], MaskCoding(codes=codes, group="dead=necrosis;alive=tumour"))

    assert choice.decoding.classes == ("dead", "alive")
    assert choice.decoding.positive is None
    assert read_mask(path, choice.decoding).tolist() == [[1, 255, 1]]
    assert choice.notes == ("No mask has a pixel of dead.",)


def test_a_table_of_colours_alone_says_that_masks_are_coloured(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8))
    codes = read_codes(table(tmp_path, "class;color\nnormal;#00ff00\ntumour;255 0 0\n"))

    found = choose_decoding([path], MaskCoding(codes=codes)).decoding

    assert (found.classes, found.positive) == (("normal", "tumour"), "tumour")
    assert read_mask(path, found).tolist() == [[1, 0]]


def test_the_class_of_interest_may_be_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[1, 2]], np.uint8))
    codes = read_codes("tumour=1;stroma=2")

    plain = choose_decoding([path], MaskCoding(codes=codes)).decoding
    named = choose_decoding([path], MaskCoding(codes=codes, positive="tumour")).decoding

    assert (plain.classes, plain.positive) == (("tumour", "stroma"), None)
    assert (named.classes, named.positive) == (("stroma", "tumour"), "tumour")
    assert read_mask(path, named).tolist() == [[1, 0]]
    with pytest.raises(ConfigError, match="names one of two classes; the masks have tumour, str"):
        choose_decoding([path], MaskCoding(codes=codes, positive="fat"))


def test_every_other_code_may_have_a_class(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[1, 7, 9, 3]], np.uint8))

    found = choose_decoding([path], MaskCoding(codes=read_codes("a=1;b=7,9;c=*"))).decoding
    alone = choose_decoding([path], MaskCoding(codes=read_codes("b=7,9"))).decoding

    assert found.classes == ("c", "a", "b")
    noted = choose_decoding([path], MaskCoding(codes=read_codes("b=7,9"))).notes
    assert noted == ("Taken for background: 1, 3.",)
    assert read_mask(path, found).tolist() == [[1, 2, 2, 0]]
    assert alone.classes == ("background", "b")
    assert read_mask(path, alone).tolist() == [[0, 1, 1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tumour=", "is no class with its codes"),
        ("=4", "is no class with its codes"),
        ("tumour=x", "'x' is no code"),
        ("tumour=1.5", r"'1\.5' is no code"),
        ("tumour=1;stroma=1", "'tumour' and 'stroma' share the code 1"),
        ("tumour=1;stroma=#ff0000", "codes beside colours"),
        ("a=*;b=*", "two classes are the rest"),
    ],
)
def test_typed_codes_that_say_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_codes(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,colour_of_hair\na,1\n", "needs the columns `label` and `code`"),
        ("label,code\na,one\n", "row 2: `code` is 'one'"),
        ("label,code\na,1\nb,1\n", "'a' and 'b' share the code 1"),
        ("label,color\na,#00000\n", "row 2: `color` is '#00000'"),
        ('label,color\na,"rgb(1,2,300)"\n', r"`color` is 'rgb\(1,2,300\)'"),
        ("label,color\na,#000000\nb,#000000\n", "share the code 0"),
        ("label,code\n,1\n", "the class ''"),
    ],
)
def test_tables_that_say_nothing_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_codes(table(tmp_path, text))


def test_a_mistyped_table_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such file"):
        read_codes(str(tmp_path / "none.csv"))


def test_colours_that_only_decorate_codes_do_not_stand_for_classes(tmp_path: Path) -> None:
    codes = read_codes(table(tmp_path, "label,code,color\na,1,#000000\nb,2,#000000\n"))

    assert codes.colours == ()
    with pytest.raises(ConfigError, match=r"colours` needs a colour of each class; codes\.csv"):
        choose_decoding([], MaskCoding(kind="colours", codes=codes))


def test_real_masks_hold_the_codes_of_their_table(real_data: Path) -> None:
    folder = real_data / "masks/bcss_style_codes"
    masks = sorted(folder.glob("*.png"))
    codes = read_codes(str(folder / "sample_GTcodes.csv"))
    assert len(masks) == 21
    assert dict(codes.codes)[4] == "necrosis_or_debris"
    assert codes.outside == {"roi", "evaluation_roi"}

    found = choose_decoding(masks, MaskCoding(codes=codes))

    assert found.decoding.classes == (
        "mostly_tumor", "mostly_stroma", "mostly_lymphocytic_infiltrate", "exclude",
        "normal_acinus_or_duct", "blood_vessel",
    )  # fmt: skip
    large = read_mask(masks[-1], found.decoding)
    assert large.shape == (4594, 4542)
    assert np.bincount(large.ravel(), minlength=256)[[0, 1, 2, 3, 4, 5, 255]].tolist() == [
        3396902, 5683401, 1989367, 7109, 49049, 61882, 9678238,
    ]  # fmt: skip
    group = MaskCoding(codes=codes, group="necrosis_or_debris")
    necrosis = choose_decoding(masks, group)
    assert necrosis.decoding.classes == ("rest", "necrosis_or_debris")
    assert (4, 1) in necrosis.decoding.numbers
    assert "No mask has a pixel of necrosis_or_debris." in necrosis.notes
    with pytest.raises(ConfigError, match="holds the values 0, 1, 2, 3, 7, 13 and more, up to 18"):
        choose_decoding(masks, MaskCoding())
