import pandas as pd
import pytest

from histokeras.cohort.join import join_labels
from histokeras.cohort.labels import read_cohort
from histokeras.errors import TableError


def message(units: pd.DataFrame, labels: dict[str, list[str]], **more: dict[str, str]) -> str:
    cohort = read_cohort(pd.DataFrame({**labels, "label": ["a", "b"]}))
    with pytest.raises(TableError, match="none of the 2 labels fits") as caught:
        join_labels(units, cohort, slide_patients=more.get("slide_patients"))
    assert caught.value.code == "NO_OVERLAP"
    assert "\n" not in str(caught.value)
    return str(caught.value)


SLIDES = pd.DataFrame({"slide_id": ["s1", "s2"]})


def test_known_patients_are_shown_on_both_sides_and_lost_zeros_are_seen() -> None:
    text = message(
        SLIDES, {"patient_id": ["001", "002"]}, slide_patients={"s1": "1", "s2": "2", "s3": "2"}
    )

    assert "`patient_id` in the table looks like '001', '002'" in text
    assert "`patient_id` of the slides like '1', '2'." in text
    assert "'001' and '1' differ only in leading zeros" in text
    assert "write the ids alike, as text" in text
    assert "--slide-table" not in text


def test_zeros_inside_an_id_count_too_but_not_those_of_another_number() -> None:
    units = SLIDES.assign(patient_id=["P01", "P10"])

    assert "'P1' and 'P01' differ" in message(units, {"patient_id": ["P1", "P2"]})
    assert "differ only" not in message(units, {"patient_id": ["P100", "P2"]})


def test_case_is_seen() -> None:
    text = message(SLIDES.assign(patient_id=["p1", "p2"]), {"patient_id": ["P1", "P9"]})

    assert "'P1' and 'p1' differ only in case or blanks" in text


def test_patients_that_have_nothing_in_common_are_no_matter_of_the_slide_table() -> None:
    text = message(SLIDES.assign(patient_id=["x", "y"]), {"patient_id": ["p1", "p2"]})

    assert "like 'x', 'y'" in text
    assert text.endswith("Use the same patient ids for the labels and the slides.")


def test_a_slide_table_that_knows_none_of_the_slides_is_shown() -> None:
    text = message(SLIDES, {"patient_id": ["p1", "p2"]}, slide_patients={"other": "p1"})

    assert "`slide_id` in the slide table looks like 'other'" in text
    assert "--slide-table" not in text


def test_slide_labels_are_compared_with_slides() -> None:
    text = message(SLIDES, {"slide_id": ["x1", "x2"]})

    assert "looks like 'x1', 'x2', `slide_id` of the slides like 's1', 's2'" in text
    assert "--slide-table" not in text


@pytest.mark.parametrize("key", ["patient_id", "slide_id"])
def test_tiles_without_slides_show_the_tile(key: str) -> None:
    tiles = pd.DataFrame({"slide_id": ["", ""], "tile": ["a/t1.png", "a/t2.png"]})

    text = message(tiles, {key: ["x1", "x2"]})

    assert "`tile` of the tiles like 'a/t1.png', 'a/t2.png'" in text
    assert "like ''" not in text
    assert f"Give `{key}` of each tile in the `--tile-table`" in text


def test_tiles_with_slides_show_the_slides() -> None:
    tiles = pd.DataFrame({"slide_id": ["", "s2"], "tile": ["t1.png", "t2.png"]})

    assert "`slide_id` of the tiles like 's2'" in message(tiles, {"slide_id": ["x1", "x2"]})
