from pathlib import Path

import pandas as pd
import pytest

from histokeras.cohort.hypoxia_table import ScoreTable, read_scores
from histokeras.errors import TableError

BUFFA = "Buffa_hypoxia_score_pan_cancer"


def read(folder: Path, text: str, name: str = "scores.csv", **options: object) -> ScoreTable:
    path = folder / name
    path.write_text(text)
    return read_scores(path, **options)


def rows(scores: ScoreTable) -> list[list[object]]:
    return scores.table[["patient_id", "score", "tumour_type"]].to_numpy().tolist()


def test_the_supplement_has_tabs_dots_and_many_signatures(tmp_path: Path) -> None:
    text = (
        f"patient_id\ttumour_type\t{BUFFA}\tWinter_hypoxia_score_pan_cancer\t"
        "Buffa_hypoxia_score_intra_tumour_type\n"
        "TCGA.E7.A6MF\tBLCA\t-39\t-30\t-43\nTCGA.BH.A1ES\tBRCA\t5\tNA\t7\n"
    )

    buffa = read(tmp_path, text, "supplement.txt")
    winter = read(tmp_path, text, "supplement.txt", score="winter")

    assert rows(buffa) == [["TCGA-E7-A6MF", -39, "BLCA"], ["TCGA-BH-A1ES", 5, "BRCA"]]
    assert (buffa.score_column, buffa.type_column) == (BUFFA, "tumour_type")
    assert rows(winter) == [["TCGA-E7-A6MF", -30, "BLCA"]]
    assert winter.dropped[["_id", "reason"]].to_numpy().tolist() == [["TCGA-BH-A1ES", "no score"]]


def test_cbioportal_exports_have_comment_lines_and_names_of_their_own(tmp_path: Path) -> None:
    clinical = (
        "#Patient Identifier\tAcronym\tBuffa\tTumor Type\n#text\ttext\tnumber\ttext\n"
        "#STRING\tSTRING\tNUMBER\tSTRING\n#1\t1\t1\t1\n"
        "PATIENT_ID\tCANCER_TYPE_ACRONYM\tBUFFA_HYPOXIA_SCORE\tTUMOR_TYPE\n"
        "TCGA-E7-A6MF\tBLCA\t-39\tUrothelial\nTCGA-BH-A1ES\tBRCA\t5\tDuctal\n"
    )
    web = (
        "Study ID\tPatient ID\tSample ID\tBuffa Hypoxia Score\t"
        "TCGA PanCanAtlas Cancer Type Acronym\n"
        "brca\tTCGA-BH-A1ES\tTCGA-BH-A1ES-01\t5\tBRCA\nbrca\tTCGA-BH-A1ES\tTCGA-BH-A1ES-06\t5\tBRCA\n"
    )

    by_file = read(tmp_path, clinical, "data_clinical_patient.txt")
    by_web = read(tmp_path, web, "clinical.tsv")

    assert rows(by_file) == [["TCGA-E7-A6MF", -39, "BLCA"], ["TCGA-BH-A1ES", 5, "BRCA"]]
    assert by_file.table["row"].tolist() == [6, 7]
    assert rows(by_web) == [["TCGA-BH-A1ES", 5, "BRCA"]]
    assert by_web.dropped["reason"].tolist() == ["duplicate: row 2 of TCGA-BH-A1ES is kept"]
    chosen = read(tmp_path, clinical, "data_clinical_patient.txt", type_column="tumor_type")
    assert chosen.table["tumour_type"].tolist() == ["Urothelial", "Ductal"]


def test_an_excel_table_with_an_index_column_is_read(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"Unnamed: 0": [0, 1], "patient_id": ["TCGA-E7-A6MF", "TCGA-BH-A1ES"],
         "Buffa_hypoxia_pan_cancer_score": [-39, 5], "Labels_median": [0, 1],
         "tumour_type": ["BLCA", "BRCA"]}
    )  # fmt: skip
    table.to_excel(tmp_path / "labels.xlsx", index=False)

    assert rows(read_scores(tmp_path / "labels.xlsx")) == [
        ["TCGA-E7-A6MF", -39, "BLCA"],
        ["TCGA-BH-A1ES", 5, "BRCA"],
    ]


SAMPLES = f"""patient_id,{BUFFA},tumour_type
TCGA-BH-A1ES-1,31,BRCA
TCGA-BH-A1ES,-7,BRCA
TCGA-A2-A0T2-06,3,BRCA
TCGA-A2-A0T2-01A,1,BRCA
TCGA-A2-A0T2-11A,-5,BRCA
TCGA-C8-A12L-2,9,BRCA
p1,-3,
p1,-3,
"""


def test_of_several_rows_of_a_patient_the_plain_one_counts(tmp_path: Path) -> None:
    scores = read(tmp_path, SAMPLES)

    assert rows(scores) == [
        ["TCGA-BH-A1ES", -7, "BRCA"],
        ["TCGA-A2-A0T2", 1, "BRCA"],
        ["TCGA-C8-A12L", 9, "BRCA"],
        ["p1", -3, ""],
    ]
    assert scores.dropped[["_id", "row", "reason"]].to_numpy().tolist() == [
        ["TCGA-BH-A1ES-1", 2, "further sample: row 3 of TCGA-BH-A1ES is kept"],
        ["TCGA-A2-A0T2-06", 4, "further sample: row 5 of TCGA-A2-A0T2 is kept"],
        ["TCGA-A2-A0T2-11A", 6, "normal tissue: sample type 11"],
        ["p1", 9, "duplicate: row 8 of p1 is kept"],
    ]
    assert scores.notes == (
        "1 patient(s) have a score only under the id of a further sample, first 'TCGA-C8-A12L-2'",
    )


def test_samples_may_be_kept_under_their_own_ids(tmp_path: Path) -> None:
    scores = read(tmp_path, SAMPLES, keep_samples=True)

    assert scores.table["patient_id"].tolist() == [
        "TCGA-BH-A1ES-1", "TCGA-BH-A1ES", "TCGA-A2-A0T2-06", "TCGA-A2-A0T2-01A", "TCGA-C8-A12L-2",
        "p1",
    ]  # fmt: skip
    assert scores.table["_patient"].tolist()[:2] == ["TCGA-BH-A1ES"] * 2
    assert scores.dropped["_id"].tolist() == ["TCGA-A2-A0T2-11A", "p1"]
    assert scores.notes == ("2 further sample(s), first 'TCGA-BH-A1ES-1', fit no slide",)


def test_rows_without_a_usable_score_are_listed(tmp_path: Path) -> None:
    scores = read(tmp_path, 'patient_id,score\np1,1\np2,NA\np3,high\n,4\np4,inf\np5,"2,5"\n')

    assert [row[:2] for row in rows(scores)] == [["p1", 1], ["p5", 2.5]]
    assert scores.dropped["reason"].tolist() == [
        "no score",
        "no number: 'high'",
        "no patient id",
        "no number: 'inf'",
    ]


@pytest.mark.parametrize(
    ("text", "message", "code"),
    [
        (
            "patient_id,score\np1,1\np1,2\n",
            r"'p1' has 1 \(row 2\) and 2 \(row 3\)",
            "SCORES_CONFLICT",
        ),
        (
            "patient_id,score,tumour_type\np1,1,COAD\np1,1,READ\n",
            r"1 in COAD \(row 2\) and 1 in READ",
            "SCORES_CONFLICT",
        ),
        ("patient_id,score\np1,x\n", "`score` holds no number in 1 row", "SCORES_MISSING"),
        ("patient_id,score\n", "holds no number in 0 row", "SCORES_MISSING"),
        ("name,score\np1,1\n", r"lacks column\(s\) \['patient_id'\]", "COLUMN_MISSING"),
        ("patient_id,age\np1,1\n", "no Buffa pan-cancer score and no `score`", "COLUMN_MISSING"),
        (
            "patient_id,West_hypoxia_score_pan_cancer\np1,1\n",
            "such as `--score West_hypoxia_score_pan_cancer`",
            "COLUMN_MISSING",
        ),
        (f"patient_id,score,{BUFFA}\np1,1,2\n", "could each be the score", "COLUMN_AMBIGUOUS"),
    ],
)
def test_tables_that_cannot_be_understood_say_why(
    tmp_path: Path, text: str, message: str, code: str
) -> None:
    with pytest.raises(TableError, match=message) as caught:
        read(tmp_path, text)
    assert caught.value.code == code


def test_two_spellings_of_equal_scores_are_no_question(tmp_path: Path) -> None:
    text = f"patient_id,Buffa_hypoxia_pan_cancer_score,{BUFFA}\np1,1,1\np2,3,3\n"

    assert len(read(tmp_path, text).table) == 2
    with pytest.raises(TableError, match="Did you mean"):
        read(tmp_path, text, score="Buffa_hypoxia_score_pan_cance")
