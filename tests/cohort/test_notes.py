import pandas as pd

from histokeras.cohort.labels import read_cohort
from histokeras.cohort.notes import alike_names


def notes(columns: str, *rows: str, target: str | None = "label") -> list[str]:
    table = pd.DataFrame([row.split(",") for row in rows], columns=columns.split(","))
    return list(read_cohort(table, target=target).notes)


def test_names_alike_but_for_case_and_blanks_are_grouped() -> None:
    assert alike_names(["b", "a b", "B", "AB", "c", "b"]) == [["AB", "a b"], ["B", "b"]]


def test_an_ordinary_table_has_no_notes() -> None:
    assert notes("slide_id,patient_id,label", "s1,p1,a", "s2,p2,b", "s3,p1,a") == []


def test_patients_with_several_labels_are_named() -> None:
    rows = ("s1,p1,a", "s2,p1,b", "s3,p2,a", "s4,p3,b", "s5,p3,a")

    assert notes("slide_id,patient_id,label", *rows) == [
        "2 patients carry more than one label: 'p1' (a, b), 'p3' (a, b)"
    ]
    assert notes("slide_id,patient_id,label", *rows[:3])[0].startswith("1 patient carries")


def test_patients_known_by_barcode_may_have_several_labels_too() -> None:
    found = notes("slide_id,label", "TCGA-A2-A0T2-01Z-00-DX1,a", "TCGA-A2-A0T2-01Z-00-DX2,b")

    assert found == ["1 patient carries more than one label: 'TCGA-A2-A0T2' (a, b)"]


def test_many_such_patients_are_cut() -> None:
    rows = [f"s{i}{label},p{i},{label}" for i in range(7) for label in "ab"]

    (note,) = notes("slide_id,patient_id,label", *rows)

    assert note.startswith("7 patients carry")
    assert "'p4' (a, b), ..." in note
    assert "'p5'" not in note


def test_patients_and_classes_that_differ_only_in_case_are_named_with_their_rows() -> None:
    assert notes("patient_id,label", "P1,Low", "p2,high", "p1,low") == [
        "patient ids that differ only in case or blanks, they count as different patients: "
        "'P1' (row 2) and 'p1' (row 4)",
        "classes that differ only in case or blanks, they count as different classes: "
        "'Low' (row 2) and 'low' (row 4)",
    ]


def test_without_target_patients_are_compared_all_the_same() -> None:
    assert len(notes("patient_id,site", "P1,x", "p 1,y", target=None)) == 1


def test_an_id_that_reads_like_a_gap_is_taken_and_named() -> None:
    assert notes("slide_id,patient_id,label", "NA,p1,a", "s2,p2,b", "s3,p3,b") == [
        "`slide_id` 'NA' in 1 row(s), first row 2, is taken as an id: leave the cell empty where "
        "it is missing",
    ]
