from pathlib import Path

import pytest

from histokeras.cohort.tcga import (
    SlideChoice,
    choose_slides,
    count_reasons,
    normal_tissue,
    parse_sample_types,
)
from histokeras.errors import ConfigError, SlideError
from histokeras.tables import read_table

UUID = "0e0f5cf3-96e9-4a35-aaed-4340df78d389"
DX = f"TCGA-A2-A0T2-01Z-00-DX1.{UUID}"
SLIDES = [
    f"{DX}.svs", "TCGA-A2-A0T2-01A-01-TSA.svs", "TCGA-A2-A0T2-01A-01-BS1",
    "TCGA-A2-A0T2-11A-02-TS1", "TCGA-A2-A0T2-06A-01-MS2", "TCGA-B2-A0T2-06Z-00-DX1", "case 7",
    "TCGA-C2-A0T2", "TCGA-C2-A0T2-11A",
]  # fmt: skip


def taken(**choice: object) -> list[str]:
    left_out = choose_slides(SLIDES, SlideChoice(**choice)).left_out
    return [name for name in SLIDES if name not in left_out]


def test_by_default_every_slide_is_taken() -> None:
    chosen = choose_slides(SLIDES, SlideChoice())

    assert chosen.left_out == {}
    assert chosen.notes == ()


def test_diagnostic_slides_and_names_of_other_kinds_are_taken() -> None:
    assert taken(diagnostic_only=True) == [SLIDES[0], *SLIDES[5:]]


def test_sample_types_are_told_by_any_barcode_that_is_long_enough() -> None:
    assert taken(sample_types=("01",)) == [*SLIDES[:3], "case 7", "TCGA-C2-A0T2"]
    assert taken(sample_types=("01", "06"), diagnostic_only=True) == [
        *(SLIDES[0], SLIDES[5], "case 7", "TCGA-C2-A0T2")
    ]


def test_what_is_left_out_has_its_reason() -> None:
    choice = SlideChoice(diagnostic_only=True, sample_types=("01",))

    chosen = choose_slides(SLIDES, choice)

    assert list(chosen.left_out.values()) == [
        "not diagnostic: TS (frozen, top)",
        "not diagnostic: BS (frozen, bottom)",
        "not diagnostic: TS (frozen, top)",
        "not diagnostic: MS (frozen, middle)",
        "other sample type: sample type 06 (metastasis)",
        "other sample type: sample type 11 (normal tissue)",
    ]
    assert chosen.outcomes()[0] == {
        "slide": SLIDES[1],
        "outcome": "left out",
        "reason": "not diagnostic: TS (frozen, top)",
    }
    assert chosen.notes == (
        "2 of 9 slide(s) bear no full TCGA name, first 'case 7': `--diagnostic-only "
        "--sample-types 01` takes them as they are",
    )
    assert count_reasons(chosen.left_out).startswith("1 not diagnostic: BS (frozen, bottom); 1 not")


def test_nothing_left_is_an_error_that_counts() -> None:
    with pytest.raises(SlideError, match=r"leaves none of the 2 slide\(s\): 2 not diagnostic") as e:
        choose_slides([SLIDES[1], SLIDES[3]], SlideChoice(diagnostic_only=True))
    assert e.value.code == "NO_SLIDES"
    assert choose_slides([], SlideChoice(diagnostic_only=True)).left_out == {}


def test_sample_types_are_read_from_text() -> None:
    assert parse_sample_types("") == ()
    assert parse_sample_types("01, 6,01") == ("01", "06")
    for text in ("primary", "001", "-1", "01;06"):
        with pytest.raises(ConfigError, match="TCGA codes such as 01"):
            parse_sample_types(text)


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("TCGA-A2-A0T2-11A-01-TS1", True),
        ("20x/TCGA-A2-A0T2-10A/1.png", True),
        ("TCGA-A2-A0T2-11", True),
        (DX, False),
        ("TCGA-A2-A0T2", False),
        ("TCGA-A2-A0T2-1", False),
        ("11A-01-TS1", False),
    ],
)
def test_normal_tissue_is_known_by_its_barcode(name: str, normal: bool) -> None:
    assert bool(normal_tissue(name)) == normal


def test_the_real_manifest_holds_frozen_sections_only(real_data: Path) -> None:
    path = real_data / "tables/gdc_manifest_20170302_003611.txt"
    names = read_table(path)["filename"].tolist()

    with pytest.raises(SlideError, match=r"leaves none of the 2167 slide\(s\)") as caught:
        choose_slides(names, SlideChoice(diagnostic_only=True))
    assert "792 not diagnostic: BS (frozen, bottom); 1375 not diagnostic: TS" in str(caught.value)
    tumours = choose_slides(names, SlideChoice(sample_types=("01",)))
    assert set(tumours.left_out.values()) == {
        "other sample type: sample type 02 (recurrent tumour)",
        "other sample type: sample type 11 (normal tissue)",
    }
