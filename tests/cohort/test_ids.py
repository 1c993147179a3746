import unicodedata

import pytest

from histokeras.cohort.ids import (
    Matcher,
    barcode_prefixes,
    base_patient,
    canonical_patient,
    parse_tcga_slide,
    patient_from_slide,
    sample_type,
    slide_stem,
    tile_key,
)

UUID = "0e0f5cf3-96e9-4a35-aaed-4340df78d389"
DX = "TCGA-A2-A0T2-01Z-00-DX1"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (f"{DX}.{UUID}.svs", ("TCGA-A2-A0T2", "01", "Z", "00", "DX", "1", UUID)),
        ("TCGA-A2-A0T2-01A-01-TSA.svs", ("TCGA-A2-A0T2", "01", "A", "01", "TS", "A", "")),
        ("TCGA-A2-A0T2-01A-01-BSA.svs", ("TCGA-A2-A0T2", "01", "A", "01", "BS", "A", "")),
        ("TCGA-A2-A0T2-11A-02-TS1.svs", ("TCGA-A2-A0T2", "11", "A", "02", "TS", "1", "")),
        ("TCGA-A2-A0T2-06A-01-MS2.svs", ("TCGA-A2-A0T2", "06", "A", "01", "MS", "2", "")),
        (DX, ("TCGA-A2-A0T2", "01", "Z", "00", "DX", "1", "")),
    ],
)
def test_tcga_slide_names_are_taken_apart(name: str, fields: tuple[str, ...]) -> None:
    assert parse_tcga_slide(name) == fields


@pytest.mark.parametrize(
    "name",
    [
        "TCGA-A2-A0T2.svs",
        "TCGA-A2-A0T2-01Z-00-XX1.svs",
        "TCGA-A2-A0T-01Z-00-DX1.svs",
        f"{DX}.{UUID}.tif",
        "slide-01.svs",
    ],
)
def test_other_names_are_no_tcga_slides(name: str) -> None:
    assert parse_tcga_slide(name) is None


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        (DX, "TCGA-A2-A0T2"),
        (f"{DX}.{UUID}", "TCGA-A2-A0T2"),
        ("TCGA-A2-A0T2", "TCGA-A2-A0T2"),
        ("TCGA-A2-A0T2-01", "TCGA-A2-A0T2"),
        ("TCGA-A2-A0T2-01A", "TCGA-A2-A0T2"),
        ("TCGA-BH-A1ES-1", None),
        ("TCGA-BH-A1ES1", None),
        ("slide-01", None),
        ("x-TCGA-A2-A0T2", None),
    ],
)
def test_patient_comes_from_a_barcode_only(name: str, patient: str | None) -> None:
    assert patient_from_slide(name) == patient


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("a.svs", "a"),
        ("/data/x/a.svs", "a"),
        ("C:\\slides\\a.ndpi", "a"),
        ("feats/a.svs.h5", "a"),
        (" a.TIFF ", "a"),
        (f"{DX}.{UUID}.svs", f"{DX}.{UUID}"),
        (f"{DX}.{UUID}", f"{DX}.{UUID}"),
        ("case 1.2 b", "case 1.2 b"),
        (".svs", ".svs"),
        (unicodedata.normalize("NFD", "grün.svs"), "grün"),
        ("", ""),
    ],
)
def test_slide_stem_cuts_folders_and_known_endings_only(text: str, stem: str) -> None:
    assert slide_stem(text) == stem


def test_tile_key_has_forward_slashes() -> None:
    assert tile_key(".\\a\\b.png") == tile_key("./a/b.png") == "a/b.png"


@pytest.mark.parametrize(
    ("text", "patient"),
    [
        ("TCGA.E7.A6MF", "TCGA-E7-A6MF"),
        ("TCGA-E7-A6MF-01A-11R", "TCGA-E7-A6MF"),
        (" p 1 ", "p 1"),
        ("TCGA-BH-A1ES-1", "TCGA-BH-A1ES-1"),
        ("TCGA.BH.A1ES.1", "TCGA-BH-A1ES-1"),
        ("001", "001"),
    ],
)
def test_patients_have_one_form(text: str, patient: str) -> None:
    assert canonical_patient(text) == patient


@pytest.mark.parametrize(
    ("text", "patient"),
    [
        ("TCGA-BH-A1ES-1", "TCGA-BH-A1ES"),
        ("TCGA.BH.A1ES.2", "TCGA-BH-A1ES"),
        ("TCGA-BH-A1ES-01A", "TCGA-BH-A1ES"),
        ("TCGA-BH-A1ES", "TCGA-BH-A1ES"),
        ("TCGA-BH-A1ES-x", "TCGA-BH-A1ES-x"),
        ("p-1", "p-1"),
    ],
)
def test_a_further_sample_is_of_its_patient(text: str, patient: str) -> None:
    assert base_patient(text) == patient


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        (f"{DX}.{UUID}", "01"),
        ("TCGA-A2-A0T2-11", "11"),
        ("TCGA-A2-A0T2-06A", "06"),
        ("TCGA-A2-A0T2", None),
        ("TCGA-BH-A1ES-1", None),
        ("slide-01", None),
    ],
)
def test_the_sample_type_is_in_the_barcode(name: str, sample: str | None) -> None:
    assert sample_type(name) == sample


def test_barcode_prefixes_stop_at_the_patient_and_pass_over_the_uuid() -> None:
    assert barcode_prefixes(f"{DX}.{UUID}") == [
        DX,
        "TCGA-A2-A0T2-01Z-00",
        "TCGA-A2-A0T2-01Z",
        "TCGA-A2-A0T2-01",
        "TCGA-A2-A0T2",
    ]
    assert barcode_prefixes("TCGA-BH-A1ES-1") == []
    assert barcode_prefixes("slide-01-a") == []


def test_matcher_fits_barcodes_of_any_length_both_ways() -> None:
    matcher = Matcher(["TCGA-A2-A0T2", "TCGA-B2-B0T2-01", f"TCGA-C2-C0T2-01Z-00-DX1.{UUID}", "p"])

    assert matcher.find(DX) == ("TCGA-A2-A0T2",)
    assert matcher.find("TCGA-B2-B0T2-01Z-00-DX1") == ("TCGA-B2-B0T2-01",)
    assert matcher.find("TCGA-B2-B0T2-06A-00-DX1") == ()
    assert matcher.find("TCGA-C2-C0T2-01Z-00-DX1") == (f"TCGA-C2-C0T2-01Z-00-DX1.{UUID}",)
    assert matcher.find("p") == ("p",)
    assert matcher.find("p-01") == ()


def test_a_suffixed_id_never_matches_by_prefix() -> None:
    assert Matcher(["TCGA-A2-A0T2-1"]).find(DX) == ()
    assert Matcher([DX]).find("TCGA-A2-A0T2-1") == ()
    assert Matcher(["TCGA-A2-A0T2"]).find("TCGA-A2-A0T2-1") == ()


def test_several_candidates_are_all_told() -> None:
    matcher = Matcher([f"{DX}", "TCGA-A2-A0T2-01Z-00-DX2"])

    assert matcher.find("TCGA-A2-A0T2") == (DX, "TCGA-A2-A0T2-01Z-00-DX2")
    assert matcher.find(DX) == (DX,)
