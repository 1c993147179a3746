import pandas as pd
import pytest

from histokeras.cohort.grouping import as_named, parse_grouping
from histokeras.cohort.labels import Cohort, read_cohort
from histokeras.errors import ConfigError, TableError
from histokeras.tissue import TISSUES


def tiles(*labels: str) -> pd.DataFrame:
    return pd.DataFrame({"tile": [f"{i}.png" for i in range(len(labels))], "label": labels})


def labels_of(cohort: Cohort) -> list[str]:
    return cohort.table["label"].tolist()


def test_one_class_stands_against_the_rest_and_is_the_positive_one() -> None:
    group = parse_grouping(" TUM ")

    cohort = read_cohort(tiles(*TISSUES, "BACK"), group=group)

    assert group.positive == "TUM"
    assert cohort.classes == ("TUM", "rest")
    assert labels_of(cohort) == ["rest"] * 7 + ["TUM", "rest"]
    assert cohort.dropped.empty


def test_classes_in_no_group_are_left_out_and_listed_and_are_no_lost_labels() -> None:
    group = parse_grouping("tumour=TUM; stroma = STR, MUS;")

    cohort = read_cohort(tiles("TUM", "ADI", "STR", "", "MUS", "BACK"), group=group)

    assert cohort.classes == ("stroma", "tumour")
    assert labels_of(cohort) == ["tumour", "stroma", "stroma"]
    assert cohort.dropped.to_numpy().tolist() == [
        [3, "1.png", "class ADI is in no group"],
        [5, "3.png", "no label"],
        [7, "5.png", "class BACK is in no group"],
    ]
    assert cohort.share_lost == 1 / 6
    assert "1 of 6 rows left out: class BACK is in no group" in cohort.notes
    assert group.positive is None
    # Asked for, they are no slip that --strict is for.
    read_cohort(tiles("TUM", "ADI", "STR", "MUS"), group=group, strict=True)


@pytest.mark.parametrize("named", ["NOR", "NORM", "norm"])
def test_normal_mucosa_goes_by_both_its_names(named: str) -> None:
    for written in ("NOR", "NORM"):
        cohort = read_cohort(tiles(written, "TUM", "BACK"), group=parse_grouping(named))
        assert labels_of(cohort) == [named, "rest", "rest"]


def test_the_rest_may_have_a_name_and_is_never_the_positive_class() -> None:
    group = parse_grouping("others=*;epithelium=TUM,NOR")

    assert group.positive == "epithelium"
    assert labels_of(read_cohort(tiles("NORM", "ADI", "TUM"), group=group)) == [
        "epithelium", "others", "epithelium",
    ]  # fmt: skip
    assert parse_grouping(str(group)) == group


def test_an_unknown_class_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(TableError, match=r"names the class 'TUN'.*holds ADI, TUM") as caught:
        read_cohort(tiles("TUM", "ADI"), group=parse_grouping("TUN"))
    assert caught.value.hint == "Did you mean 'TUM'?"
    # BACK has no counterpart among the eight.
    with pytest.raises(TableError, match="names the class 'BACK'"):
        read_cohort(tiles(*TISSUES), group=parse_grouping("BACK"))


def test_a_table_of_another_place_may_lack_a_class_or_hold_the_groups() -> None:
    group = parse_grouping("tumour=TUM;stroma=STR,MUS")

    found = read_cohort(tiles("TUM", "MUS", "stroma", "LYM"), group=group, complete=False)

    assert labels_of(found) == ["tumour", "stroma", "stroma"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "one group has nothing"),
        ("TUM,STR", "several classes need a name"),
        ("tumour=TUM", "one group has nothing to be told from"),
        ("tumour=TUM;STR", "'STR' is no group"),
        ("a=TUM;a=STR", "the group 'a' stands there twice"),
        ("a=NOR;b=NORM", "the class 'NORM' is in two groups"),
        ("a=*;b=*", "is in two groups"),
        ("a=TUM,*;b=STR", "stands alone"),
        ("*", "is no class"),
    ],
)
def test_what_is_no_grouping_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        parse_grouping(text)
    assert "tumour=TUM" in str(caught.value.hint)


def test_tissues_take_the_names_that_a_run_knows_them_by() -> None:
    found = read_cohort(tiles("NORM", "TUM", "BACK"), group=as_named(TISSUES), complete=False)

    # BACK stays, and is refused where classes are compared: it is none of the run's.
    assert labels_of(found) == ["NOR", "TUM", "BACK"]
