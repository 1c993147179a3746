from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from histokeras.cohort.clinical import read_clinical
from histokeras.cohort.clinical_names import clinical_under_pseudonyms
from histokeras.cohort.clinical_words import event_of, parse_header, plain_text
from histokeras.cohort.outcome import survival_outcome
from histokeras.cohort.pseudonyms import read_pseudonyms
from histokeras.errors import TableError

HMU = (
    "\ufeffPatient,Sex,Age,T staging,Comprehensive Staging,"
    '"Lauren classification(Intestinal=0, Mixed=1, Diffuse=2)",'
    "Lymphovascular Invasion(Negative=0\uff0cPositive=1),"
    "HER-2(Negative=0\uff0c1=1+\uff0c2=2+\uff0c3=3+),,\r\n"
    "11,Male,45,T1b,\u2160A,0,1,0,,\r\n"
    "12,Female,76,T4a,\u2163,NA,NA,3,,\r\n"
    "13,Male,33,T2,\u2162A,2,0,1,,\r\n"
)


def table(folder: Path, text: str, name: str = "clinical.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def column(folder: Path, header: str, *cells: str) -> tuple[str, list[object]]:
    """Read one column of a table of our own; its kind and its values, None where missing."""
    rows = "".join(f'p{i},"{cell}"\n' for i, cell in enumerate(cells))
    clinical = read_clinical(table(folder, f'patient_id,"{header}"\n{rows}'))
    ((name, kind),) = clinical.kinds.items()
    values = clinical.table[name].astype(object)
    return f"{name} {kind}", values.where(values.notna(), None).tolist()


def test_headers_codes_and_roman_numerals_are_read_as_they_are_meant(tmp_path: Path) -> None:
    clinical = read_clinical(table(tmp_path, HMU))

    assert plain_text("\u2162A") == "IIIA"
    assert plain_text("\u2163") == "IV"
    assert clinical.kinds == {
        "sex": "binary", "age": "number", "t_stage": "ordinal", "stage": "ordinal",
        "lauren": "category", "lymphovascular_invasion": "binary", "her2": "ordinal",
    }  # fmt: skip
    assert clinical.codes["lymphovascular_invasion"] == {"0": "Negative", "1": "Positive"}
    assert clinical.codes["her2"] == {"0": "Negative", "1": "1+", "2": "2+", "3": "3+"}
    assert clinical.headers["t_stage"] == "T staging"
    assert clinical.missing["lauren"] == clinical.missing["lymphovascular_invasion"] == 1
    assert clinical.dropped_columns["column"].tolist() == [
        "column 9 (no name)", "column 10 (no name)",
    ]  # fmt: skip
    rows = clinical.table
    assert rows["patient_id"].tolist() == ["11", "12", "13"]
    assert rows["stage"].tolist() == ["IA", "IV", "IIIA"]
    assert rows["stage"].cat.codes.tolist() == [0, 2, 1]
    assert rows["t_stage"].max() == "T4a"
    assert rows["lymphovascular_invasion"].tolist()[::2] == ["Positive", "Negative"]
    # Levels that the code book names stand even where nobody has them.
    assert rows["her2"].cat.categories.tolist() == ["0", "1+", "2+", "3+"]
    assert rows["her2"].tolist() == ["0", "3+", "1+"]


def test_excel_is_read_like_csv(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for line in HMU.removeprefix("\ufeff").split("\r\n")[1:-1]:
        book.active.append([cell or None for cell in line.split(",")])
    names = list(pd.read_csv(table(tmp_path, HMU), nrows=0).columns[:8])
    book.active.insert_rows(1)
    for i, name in enumerate(names, start=1):
        book.active.cell(1, i, name)
    book.save(tmp_path / "clinical.xlsx")

    excel = read_clinical(tmp_path / "clinical.xlsx")

    pd.testing.assert_frame_equal(excel.table, read_clinical(tmp_path / "clinical.csv").table)


@pytest.mark.parametrize(
    ("header", "name", "codes"),
    [
        ("Lymphovascular Invasion(Negative=0\uff0cPositive=1)", "lymphovascular_invasion",
         {"0": "Negative", "1": "Positive"}),
        ("Grade (1=well; 2=poor)", "grade", {"1": "well", "2": "poor"}),
        ("Overall Survival (Months)", "overall_survival_months", {}),
        ("Size (cm)", "size_cm", {}),
        ("OS.time", "os_time", {}),
    ],
)  # fmt: skip
def test_a_header_is_taken_apart(header: str, name: str, codes: dict[str, str]) -> None:
    assert parse_header(header) == (name, codes)


@pytest.mark.parametrize(
    ("header", "cells", "name", "values"),
    [
        ("pathologic_T", ("pT4b", "T1", "Tis", "TX", "t1a"), "t_stage ordinal",
         ["T4b", "T1", "Tis", None, "T1a"]),
        ("N", ("N0 (i-)", "N1mi", "3b", "NX"), "n_stage ordinal", ["N0", "N1mi", "N3b", None]),
        ("ajcc_stage", ("Stage IIA", "3b", "IV", "Stage X"), "stage ordinal",
         ["IIA", "IIIB", "IV", None]),
        ("gender", ("F", "m", "W", "unknown"), "sex binary", ["female", "male", "female", None]),
        ("size", ("1,5", "2", "\uff13"), "size number", [1.5, 2.0, 3.0]),
        ("margin", ("0", "1", ".", "1.0"), "margin binary", ["0", "1", None, "1"]),
        ("site", ("Cardia", "cardia", "Cardia", "Antrum", "Body"), "site category",
         ["Cardia", "Cardia", "Cardia", "Antrum", "Body"]),
        ("her2", ("Positive", "Negative", "Positive"), "her2 binary",
         ["Positive", "Negative", "Positive"]),
        # A minus beside a plus is a finding.
        ("lvi", ("+", "-", "+", "NA"), "lvi binary", ["+", "-", "+", None]),
        ("lvi", ("yes", "-", "no"), "lvi binary", ["yes", None, "no"]),
        # A column called M need not hold metastases.
        ("M", ("12.5", "3.1", "8.2"), "m number", [12.5, 3.1, 8.2]),
        ("Status", ("stable", "relapse", "stable"), "status binary",
         ["stable", "relapse", "stable"]),
        ("OS_STATUS", ("1:DECEASED", "0:LIVING", "NA"), "event binary", [True, False, None]),
    ],
)  # fmt: skip
def test_a_column_gets_its_kind(
    tmp_path: Path, header: str, cells: tuple[str, ...], name: str, values: list[object]
) -> None:
    assert column(tmp_path, header, *cells) == (name, values)


def test_stages_stand_in_their_order(tmp_path: Path) -> None:
    cells = ("T4b", "T1b", "T2", "T1a", "Tis", "T4a", "T1", "T3", "T0")
    rows = "".join(f"p{i},{cell}\n" for i, cell in enumerate(cells))

    clinical = read_clinical(table(tmp_path, f"patient_id,T\n{rows}"))

    order = ["T0", "Tis", "T1", "T1a", "T1b", "T2", "T3", "T4a", "T4b"]
    assert clinical.table["t_stage"].cat.categories.tolist() == order


def test_cells_that_tell_nothing_are_listed_by_row_and_column(tmp_path: Path) -> None:
    rows = "".join(f"p{i:02d},{60 + i},T{1 + i % 4},0\n" for i in range(20))
    header = "patient_id,age,T,VI(Negative=0;Positive=1)\n"
    text = header + rows + "p20,sixty,T2-3,2\np21,-5,T2,1\n"

    clinical = read_clinical(table(tmp_path, text))

    listed = clinical.unreadable[["row", "patient_id", "column", "cell"]].to_numpy().tolist()
    assert listed == [
        [22, "p20", "age", "sixty"], [22, "p20", "t_stage", "T2-3"], [22, "p20", "vi", "2"],
        [23, "p21", "age", "-5"],
    ]  # fmt: skip
    assert clinical.missing == {"age": 2, "t_stage": 1, "vi": 1}
    assert clinical.kinds["vi"] == "binary"


def test_columns_of_no_use_are_dropped_and_named(tmp_path: Path) -> None:
    rows = "".join(f"{i},p{i},note number {i},A{i % 60},{9000 + i},,x\n" for i in range(120))
    header = ",patient_id,Remarks,Ward,Hospital ID,Empty,Cohort\n"

    clinical = read_clinical(table(tmp_path, header + rows))

    reasons = dict(clinical.dropped_columns.to_numpy().tolist())
    assert list(clinical.kinds) == ["cohort"]
    assert reasons["Empty"] == "empty"
    assert reasons["Unnamed: 0"] == "row numbers"
    assert reasons["Ward"].startswith("60 different texts")
    assert "free text" in reasons["Remarks"]
    assert "identifier" in reasons["Hospital ID"]
    # Few enough to be groups, and yet each text once.
    few = read_clinical(
        table(tmp_path, "patient_id,by\n" + "".join(f"p{i},Dr {i}\n" for i in range(12)))
    )
    assert "none twice" in few.dropped_columns["reason"][0]


def test_equal_rows_are_one_and_rows_without_a_patient_are_listed(tmp_path: Path) -> None:
    text = "patient_id,sex,age\na,F,50\nb,M,60\na,f,50\nNA,F,40\n"

    clinical = read_clinical(table(tmp_path, text))

    assert clinical.table["patient_id"].tolist() == ["a", "b"]
    assert clinical.rows == (2, 3)
    assert clinical.dropped.to_numpy().tolist() == [
        [4, "a", "duplicate of row 2"], [5, "", "no patient_id"],
    ]  # fmt: skip


def test_rows_of_a_patient_that_differ_are_refused_by_number(tmp_path: Path) -> None:
    path = table(tmp_path, "patient_id,age\na,50\nb,60\na,51\n")

    with pytest.raises(TableError, match=r"'a': `age` is '50' \(row 2\) and '51' \(row 4\)"):
        read_clinical(path)


def test_a_table_without_patients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no column names patients; it has .*'patiennt'"):
        read_clinical(table(tmp_path, "patiennt,age\na,50\n"))
    with pytest.raises(TableError, match="could each name the patient"):
        read_clinical(table(tmp_path, "pid,patient_no,age\na,b,50\n"))


def test_nothing_is_guessed_between_two_columns_of_one_meaning(tmp_path: Path) -> None:
    rows = "".join(f"p{i},T{1 + i},T{4 - i},T1\n" for i in range(3))

    clinical = read_clinical(table(tmp_path, f"patient_id,cT,pT,Size\n{rows}"))

    assert clinical.kinds == {"ct": "ordinal", "pt": "ordinal", "size": "category"}
    assert any("could each be `t_stage`: none" in note for note in clinical.notes)


def test_the_outcome_of_tcga_and_cbioportal(tmp_path: Path) -> None:
    tcga = "bcr_patient_barcode,vital_status,OS,OS.time\nTCGA-AA-0001,Dead,1,300\n"
    clinical = read_clinical(table(tmp_path, tcga + "TCGA-AA-0002,Alive,0,100\n"))
    assert clinical.time_unit == "days"
    assert survival_outcome(clinical)["time"].tolist() == [300, 100]

    portal = "#Patient Identifier\nPATIENT_ID\tOS_STATUS\tOS_MONTHS\nTCGA-AA-0001\t1:DECEASED\t"
    portal += "10.5\nTCGA-AA-0002\t0:LIVING\t\nTCGA-AA-0003\t0:LIVING\t7\n"
    outcome = survival_outcome(read_clinical(table(tmp_path, portal, "data.txt")))
    assert outcome.attrs == {"time_unit": "months", "left_out": 1}
    assert outcome["patient_id"].tolist() == ["TCGA-AA-0001", "TCGA-AA-0003"]
    assert outcome["event"].tolist() == [True, False]


def test_the_outcome_of_the_gdc_is_made_of_two_columns(tmp_path: Path) -> None:
    text = "case_submitter_id\tvital_status\tdays_to_death\tdays_to_last_follow_up\n"
    rows = "".join(f"TCGA-AA-{i:04d}\tAlive\t'--\t{100 + i}\n" for i in range(9))
    text += rows + "TCGA-BB-0001\tDead\t40\t'--\nTCGA-BB-0002\tDead\t70\t60\n"

    clinical = read_clinical(table(tmp_path, text, "clinical.tsv"))
    outcome = survival_outcome(clinical)

    assert clinical.time_unit == "days"
    assert outcome["time"].tolist()[-3:] == [108, 40, 70]
    assert outcome["event"].sum() == 2
    assert any("`time` is `days_to_death`" in note for note in clinical.notes)


def test_patients_can_go_by_their_pseudonyms(tmp_path: Path) -> None:
    clinical = read_clinical(table(tmp_path, "patient_id,age\na,50\nb,-4\na,50\nNA,3\n"))
    names = read_pseudonyms(table(tmp_path, "id,pseudonym\na,P1\nb,P2\n", "names.csv"))

    hidden = clinical_under_pseudonyms(clinical, names)

    assert hidden.table["patient_id"].tolist() == ["P1", "P2"]
    assert hidden.dropped["id"].tolist() == ["P1", ""]
    assert hidden.unreadable["patient_id"].tolist() == ["P2"]


def test_outcome_columns_can_be_named(tmp_path: Path) -> None:
    rows = "".join(f"p{i:02d},{i + 1},{('no', 'yes')[i % 2]}\n" for i in range(12))
    clinical = read_clinical(table(tmp_path, f"patient_id,PFS weeks,Relapse\n{rows}"))

    outcome = survival_outcome(clinical, time="PFS weeks", event="relapse")

    assert outcome["event"].sum() == 6
    assert outcome["time"].sum() == 78
    with pytest.raises(TableError, match="Did you mean `Relapse`"):
        survival_outcome(clinical, time="PFS weeks", event="relaps")
    with pytest.raises(TableError, match="holds no numbers"):
        survival_outcome(clinical, time="Relapse", event="Relapse")


def test_without_follow_up_the_columns_are_named_and_classes_offered(tmp_path: Path) -> None:
    clinical = read_clinical(table(tmp_path, HMU))

    with pytest.raises(TableError, match=r"survival needs `time` .* and `event` .* it has sex, ag"):
        survival_outcome(clinical)
    with pytest.raises(TableError, match="fit-head FEATURES --labels TABLE --target lymphovasc"):
        survival_outcome(clinical)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("-4,1", r"row 3: `time` is '-4' \(a time is a number above 0\)"),
        ("0,1", "row 3: `time` is '0'"),
        ("soon,1", "row 3: `time` is 'soon'"),
        ("4,2", r"row 3: `event` is '2' \(an event is 0 or 1\)"),
        ("4,1:LIVING", "row 3: `event` is '1:LIVING'"),
    ],
)
def test_row_45_times_and_events_that_are_none(tmp_path: Path, cells: str, message: str) -> None:
    clinical = read_clinical(table(tmp_path, f"patient_id,time,event\na,5,1\nb,{cells}\nc,6,0\n"))

    with pytest.raises(TableError, match=message) as caught:
        survival_outcome(clinical)
    assert caught.value.code == "SURVIVAL_CELLS"


def test_row_45_all_censored(tmp_path: Path) -> None:
    clinical = read_clinical(table(tmp_path, "patient_id,time,event\na,5,0\nb,6,0\n"))

    with pytest.raises(TableError, match="none of the 2 patient") as caught:
        survival_outcome(clinical)
    assert caught.value.code == "COX_IMPOSSIBLE"


def test_the_real_gastric_table(real_data: Path) -> None:
    clinical = read_clinical(real_data / "tables/HMU-GC-Clinical.csv")

    assert len(clinical.table) == 300
    assert clinical.kinds == {
        "sex": "binary", "age": "number", "t_stage": "ordinal", "n_stage": "ordinal",
        "m_stage": "ordinal", "stage": "ordinal", "histological_type": "category",
        "lauren": "category", "lymphovascular_invasion": "binary", "venous_invasion": "binary",
        "perineural_invasion": "binary", "stroma_quantity": "ordinal",
        "tumor_infiltration_pattern": "ordinal", "her2": "ordinal",
    }  # fmt: skip
    assert {name: n for name, n in clinical.missing.items() if n} == {
        "lauren": 55, "lymphovascular_invasion": 50, "venous_invasion": 83,
        "perineural_invasion": 52, "stroma_quantity": 18, "tumor_infiltration_pattern": 20,
    }  # fmt: skip
    assert clinical.dropped_columns["column"].tolist() == [
        "column 16 (no name)", "column 17 (no name)",
    ]  # fmt: skip
    assert clinical.dropped.empty
    assert clinical.unreadable.empty
    rows = clinical.table
    assert rows["age"].agg(["min", "max", "mean"]).round(2).tolist() == [33, 79, 60.77]
    assert rows["t_stage"].value_counts(sort=False).to_dict() == {
        "T1a": 9, "T1b": 20, "T2": 40, "T3": 146, "T4a": 16, "T4b": 69,
    }  # fmt: skip
    assert rows["lauren"].value_counts(sort=False).to_dict() == {
        "Intestinal": 180, "Mixed": 46, "Diffuse": 19,
    }  # fmt: skip
    with pytest.raises(TableError, match="survival needs `time`"):
        survival_outcome(clinical)


@pytest.mark.parametrize(
    ("text", "seen"),
    [("1:DECEASED", True), ("0:DiseaseFree", False), ("1:Recurred/Progressed", True),
     ("0:DECEASED", None), ("2:other", None), ("alive", False), ("1.0", True)],
)  # fmt: skip
def test_number_and_word_of_an_event(text: str, seen: bool | None) -> None:
    assert event_of(text) is seen
