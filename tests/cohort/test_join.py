import pandas as pd
import pytest

from histokeras.cohort.join import format_funnel, join_labels
from histokeras.cohort.labels import Cohort, read_cohort
from histokeras.errors import TableError

UUID = "0e0f5cf3-96e9-4a35-aaed-4340df78d389"


def cohort_of(columns: str, *rows: str) -> Cohort:
    table = pd.DataFrame([row.split(",") for row in rows], columns=columns.split(","))
    return read_cohort(table)


def slides(*names: str) -> pd.DataFrame:
    return pd.DataFrame({"slide_id": names})


PATIENTS = cohort_of("patient_id,label", "p1,a", "p2,b", "p3,a")


def test_patient_labels_reach_all_slides_of_the_patient_by_the_slide_table() -> None:
    joined = join_labels(
        slides("s2", "s1b", "s1a"), PATIENTS, slide_patients={"s1a": "p1", "s1b": "p1", "s2": "p2"}
    )

    assert joined.units.to_numpy().tolist() == [
        ["s2", "p2", "b"],
        ["s1b", "p1", "a"],
        ["s1a", "p1", "a"],
    ]
    assert joined.patient_safe
    assert joined.unit == "patient_id"


def test_the_funnel_counts_patients_and_every_loss_is_listed() -> None:
    cohort = cohort_of("patient_id,label", "p1,a", "p2,b", "p3,a", "p4,", "p5,b")

    joined = join_labels(
        slides("s1", "s2", "s9", "sx"),
        cohort,
        slide_patients={"s1": "p1", "s2": "p2", "s3": "p3", "s9": "p9"},
        slides=["s1", "s2", "s3.svs"],
    )

    assert joined.funnel == {
        "patients in the table": 5,
        "labelled": 4,
        "with slide": 3,
        "with features": 2,
        "used": 2,
    }
    assert joined.dropped.to_numpy().tolist() == [
        ["row", "p4", "no label"],
        ["patient", "p3", "labelled, but no slide with features"],
        ["patient", "p5", "labelled, but no slide with features"],
        ["slide", "s9", "no label for patient p9"],
        ["slide", "sx", "its patient is unknown"],
    ]
    assert format_funnel(joined.funnel) == (
        "patients in the table 5 -> labelled 4 -> with slide 3 -> with features 2 -> used 2"
    )


def test_a_slide_named_like_its_patient_needs_no_slide_table() -> None:
    joined = join_labels(slides("p2.svs", "p1"), PATIENTS)

    assert joined.units["patient_id"].tolist() == ["p2", "p1"]
    assert joined.units["slide_id"].tolist() == ["p2.svs", "p1"]


def test_slide_labels_ignore_folder_and_ending() -> None:
    cohort = cohort_of("FILENAME,PATIENT,label", "x/s1.h5,p1,a", "x/s2.h5,p2,b")

    joined = join_labels(slides("s1.svs", "s2"), cohort)

    assert joined.units["label"].tolist() == ["a", "b"]
    assert joined.units["patient_id"].tolist() == ["p1", "p2"]


def test_tcga_barcodes_of_any_length_fit() -> None:
    cohort = cohort_of(
        "patient_id,label", "TCGA.A2.A0T2,a", "TCGA-B2-B0T2-01,b", "TCGA-A2-A0T2-1,b"
    )

    joined = join_labels(
        slides(f"TCGA-A2-A0T2-01Z-00-DX1.{UUID}", "TCGA-B2-B0T2-01Z-00-DX1"), cohort
    )

    assert joined.units["label"].tolist() == ["a", "b"]
    assert joined.units["patient_id"].tolist() == ["TCGA-A2-A0T2", "TCGA-B2-B0T2"]
    assert joined.dropped.to_numpy().tolist() == [
        ["patient", "TCGA-A2-A0T2-1", "labelled, but no slide with features"]
    ]


def test_the_label_of_another_sample_is_never_taken() -> None:
    cohort = cohort_of("patient_id,label", "TCGA-A2-A0T2-06,a", "TCGA-B2-B0T2,b")

    joined = join_labels(slides("TCGA-A2-A0T2-01Z-00-DX1", "TCGA-B2-B0T2-01Z-00-DX1"), cohort)

    assert joined.units["label"].tolist() == ["b"]


def test_a_name_that_fits_two_rows_is_an_error() -> None:
    cohort = cohort_of("patient_id,label", "TCGA-A2-A0T2,a", "TCGA-A2-A0T2-01,b")

    with pytest.raises(TableError, match="fits 2 rows of the table: 'TCGA-A2-A0T2-01'") as caught:
        join_labels(slides("TCGA-A2-A0T2-01Z-00-DX1"), cohort)
    assert caught.value.code == "ID_AMBIGUOUS"


def test_a_short_name_that_fits_slides_of_two_patients_is_an_error() -> None:
    cohort = cohort_of(
        "slide_id,patient_id,label",
        "TCGA-A2-A0T2-01Z-00-DX1,q1,a",
        "TCGA-A2-A0T2-01Z-00-DX2,q2,b",
    )

    with pytest.raises(TableError, match="fits 2 rows"):
        join_labels(slides("TCGA-A2-A0T2-01Z"), cohort)


def test_nothing_in_common_shows_an_example_of_each_side() -> None:
    with pytest.raises(
        TableError, match=r"looks like 'p1'.*like 'slide-1'.*--slide-table"
    ) as found:
        join_labels(slides("slide-1", "slide-2"), PATIENTS)
    assert found.value.code == "NO_OVERLAP"

    tiles = pd.DataFrame({"slide_id": ["s"], "tile": ["x/t.png"]})
    with pytest.raises(TableError, match="relative to its folder"):
        join_labels(tiles, cohort_of("tile,label", "t1,a", "t2,b"))
    with pytest.raises(TableError, match="like nothing"):
        join_labels(slides(), PATIENTS)


def test_sources_that_disagree_on_the_patient_are_an_error_naming_both() -> None:
    cohort = cohort_of("slide_id,patient_id,label", "s1,p1,a", "s2,p2,b")

    with pytest.raises(TableError, match=r"'s1': '\w+' and '\w+'") as caught:
        join_labels(slides("s1", "s2"), cohort, slide_patients={"s1": "p9"})
    assert caught.value.code == "SLIDE_TWO_PATIENTS"
    assert "p1" in str(caught.value)
    assert "p9" in str(caught.value)

    units = pd.DataFrame(
        {"slide_id": ["s1", "s1"], "tile": ["t1", "t2"], "patient_id": ["p1", "p2"]}
    )
    with pytest.raises(TableError, match="belong to two patients"):
        join_labels(units, PATIENTS)


TILES = pd.DataFrame(
    {
        "slide_id": ["", "", ""],
        "tile": ["a/t1.png", "a/t2.png", "b/t3.png"],
        "patient_id": ["p1", "p1", ""],
    }
)


def test_tile_labels_join_by_tile_and_keep_the_tile_sets_patients() -> None:
    cohort = cohort_of("tile,label,patient_id", "a/t1.png,a,p1", "./b/t3.png,b,p3", "zz,b,p4")

    joined = join_labels(TILES, cohort)

    assert joined.units[["tile", "patient_id", "label"]].to_numpy().tolist() == [
        ["a/t1.png", "p1", "a"],
        ["b/t3.png", "p3", "b"],
    ]
    assert joined.dropped.to_numpy().tolist() == [
        ["tile", "zz", "labelled, but no tile with features"],
        ["tile", "a/t2.png", "no label"],
    ]
    assert joined.funnel["patients in the table"] == 3
    assert joined.funnel["used"] == 2
    assert TILES["patient_id"].tolist() == ["p1", "p1", ""]


def test_tile_labels_for_whole_slides_are_an_error() -> None:
    with pytest.raises(TableError, match=r"units lacks column\(s\) \['tile'\]"):
        join_labels(slides("s1"), cohort_of("tile,label", "t1,a", "t2,b"))


def test_unknown_patients_are_an_error_unless_accepted() -> None:
    cohort = cohort_of("slide_id,label", "s1,a", "s2,b")

    with pytest.raises(TableError, match=r"2 of 2 slide\(s\) is unknown, first 's1'") as caught:
        join_labels(slides("s1", "s2"), cohort)
    assert caught.value.code == "PATIENT_UNKNOWN"

    joined = join_labels(slides("s1", "s2"), cohort, patients_unknown=True)
    assert joined.note == "slide-level, not patient-safe"
    assert joined.unit == "slide_id"
    assert not joined.patient_safe
    assert joined.units["patient_id"].tolist() == ["s1", "s2"]
    assert joined.funnel["used"] == 2


def test_tiles_without_patient_and_slide_stand_alone() -> None:
    cohort = cohort_of("tile,label", "a/t1.png,a", "b/t3.png,b")
    units = TILES.drop(columns="patient_id")

    joined = join_labels(units, cohort, patients_unknown=True)
    mixed = join_labels(TILES, cohort, patients_unknown=True)
    by_slide = join_labels(units.assign(slide_id="s"), cohort, patients_unknown=True)

    assert (joined.unit, joined.note) == ("tile", "tile-level, not patient-safe")
    assert joined.units["patient_id"].tolist() == ["a/t1.png", "b/t3.png"]
    assert (mixed.unit, mixed.note) == ("patient_id", "tile-level, not patient-safe")
    assert mixed.units["patient_id"].tolist() == ["p1", "b/t3.png"]
    assert (by_slide.unit, by_slide.note) == ("slide_id", "slide-level, not patient-safe")


def test_slides_of_one_patient_may_bear_different_labels() -> None:
    cohort = cohort_of("slide_id,patient_id,label", "s1,p1,a", "s2,p1,b")

    joined = join_labels(slides("s1", "s2"), cohort)

    assert joined.units["label"].tolist() == ["a", "b"]
    assert joined.funnel["used"] == 1


def test_the_index_of_the_units_does_not_matter() -> None:
    units = slides("p1", "nobody", "p2").set_index(pd.Index([5, 5, 5]))

    joined = join_labels(units, PATIENTS)

    assert joined.units.to_numpy().tolist() == [["p1", "p1", "a"], ["p2", "p2", "b"]]
    assert joined.units.index.tolist() == [0, 1]


def test_the_funnel_says_what_it_counts() -> None:
    by_slide = join_labels(
        slides("s1", "s2"), cohort_of("slide_id,label", "s1,a", "s2,b"), patients_unknown=True
    )
    by_tile = join_labels(
        TILES.drop(columns="patient_id"),
        cohort_of("tile,label", "a/t1.png,a", "b/t3.png,b"),
        patients_unknown=True,
    )
    mixed = join_labels(
        TILES, cohort_of("tile,label", "a/t1.png,a", "b/t3.png,b"), patients_unknown=True
    )

    assert next(iter(by_slide.funnel.items())) == ("slides in the table", 2)
    assert list(by_slide.funnel)[1:] == ["labelled", "with slide", "with features", "used"]
    assert format_funnel(by_tile.funnel).startswith("tiles in the table 2 -> labelled 2")
    assert next(iter(mixed.funnel)) == "patients or tiles in the table"


NORMAL = "sample type 11 (normal tissue) never inherits the label of a patient's tumour"


def test_normal_tissue_never_inherits_the_label_of_the_patient() -> None:
    cohort = cohort_of("patient_id,label", "TCGA-A2-A0T2,a", "TCGA-B2-B0T2,b", "p1,a")
    normals = ("TCGA-A2-A0T2-11A-01-TS1", "TCGA-B2-B0T2-11A", "TCGA-C2-C0T2-11A-01-TS1")

    joined = join_labels(
        slides("TCGA-A2-A0T2-01Z-00-DX1", *normals), cohort, slide_patients={normals[2]: "p1"}
    )

    assert joined.units["slide_id"].tolist() == ["TCGA-A2-A0T2-01Z-00-DX1"]
    assert joined.funnel["used"] == 1
    lacking = "labelled, but no slide with features of tumour tissue"
    assert joined.dropped.to_numpy().tolist() == [
        ["patient", "TCGA-B2-B0T2", lacking],
        ["patient", "p1", lacking],
        *(["slide", name, NORMAL] for name in normals),
    ]


def test_normal_tissue_keeps_a_label_of_its_own() -> None:
    by_sample = cohort_of("patient_id,label", "TCGA-A2-A0T2-01,a", "TCGA-A2-A0T2-11,b")
    by_slide = cohort_of("slide_id,label", "TCGA-A2-A0T2-01Z-00-DX1,a", "TCGA-A2-A0T2-11A-01-TS1,b")
    by_short = cohort_of("slide_id,label", "TCGA-A2-A0T2,a", "TCGA-B2-B0T2,b")
    units = slides("TCGA-A2-A0T2-01Z-00-DX1", "TCGA-A2-A0T2-11A-01-TS1")

    assert join_labels(units, by_sample).units["label"].tolist() == ["a", "b"]
    assert join_labels(units, by_slide).units["label"].tolist() == ["a", "b"]
    assert join_labels(units, by_short).units["label"].tolist() == ["a"]


def test_tiles_of_normal_tissue_are_known_by_their_slide_or_folder() -> None:
    cohort = cohort_of("patient_id,label", "TCGA-A2-A0T2,a", "TCGA-B2-B0T2,b")
    tiles = ["x/t1.png", "20x/TCGA-A2-A0T2-11A-01-TS1_files/1_1.jpeg", "x/t2.png"]
    units = pd.DataFrame(
        {"slide_id": ["TCGA-A2-A0T2-11A-01-TS1", "", "TCGA-A2-A0T2-01Z-00-DX1"], "tile": tiles,
         "patient_id": "TCGA-A2-A0T2"}
    )  # fmt: skip

    joined = join_labels(units, cohort)
    by_tile = join_labels(units, cohort_of("tile,label", f"{tiles[0]},a", f"{tiles[1]},b"))

    assert joined.units["tile"].tolist() == ["x/t2.png"]
    assert joined.dropped["reason"].tolist().count(NORMAL) == 2
    assert len(by_tile.units) == 2


def test_nothing_but_normal_tissue_is_an_error() -> None:
    cohort = cohort_of("patient_id,label", "TCGA-A2-A0T2,a", "TCGA-B2-B0T2,b")

    with pytest.raises(TableError, match=r"all 1 slide\(s\) that fit a label are of normal") as got:
        join_labels(slides("TCGA-A2-A0T2-11A-01-TS1", "other"), cohort)
    assert got.value.code == "NORMAL_TISSUE"
