from pathlib import Path

import pytest

from histokeras.cohort.code_book import decoded, header_meant
from histokeras.cohort.labels import read_cohort
from histokeras.errors import TableError

LAUREN = "Lauren classification(Intestinal=0, Mixed=1, Diffuse=2)"
VENOUS = "Venous Invasion(Negative=0\uff0cPositive=1)"
HEADERS = ["Patient", LAUREN, VENOUS, "T staging"]


@pytest.mark.parametrize(
    ("target", "header"),
    [
        ("lauren", LAUREN),
        ("Lauren Classification", LAUREN),
        ("venous_invasion", VENOUS),
        ("venous invasion", VENOUS),
        ("t_stage", "T staging"),
        ("invasion", None),
        ("", None),
    ],
)
def test_a_header_is_found_by_what_it_means(target: str, header: str | None) -> None:
    assert header_meant(HEADERS, target) == header


def test_between_two_headers_nothing_is_guessed() -> None:
    assert header_meant(["pT", "cT"], "t_stage") is None
    assert header_meant(["pT", "cT"], "pt") == "pT"


def test_codes_become_names_only_where_all_of_them_are_known() -> None:
    assert decoded(["0", "", "1.0", "positive"], VENOUS)[0] == [
        "Negative", "", "Positive", "Positive",
    ]  # fmt: skip
    assert decoded(["0", "2"], VENOUS) == (["0", "2"], "")
    assert decoded(["0", "1"], "Invasion") == (["0", "1"], "")


def test_a_clinical_column_is_a_label(tmp_path: Path) -> None:
    path = tmp_path / "clinical.csv"
    path.write_text(
        f'\ufeffPatient,"{LAUREN}",{VENOUS},,\r\n1,0,1,,\r\n2,2,NA,,\r\n3,NA,0,,\r\n4,1,0,,\r\n',
        encoding="utf-8",
        newline="",
    )

    lauren = read_cohort(path, target="lauren")
    venous = read_cohort(path, target="venous_invasion")

    assert lauren.classes == ("Diffuse", "Intestinal", "Mixed")
    assert lauren.target == LAUREN
    assert lauren.dropped["id"].tolist() == ["3"]
    assert any("0 is Intestinal" in note for note in lauren.notes)
    assert venous.classes == ("Negative", "Positive")
    with pytest.raises(TableError, match="no column `laurn`"):
        read_cohort(path, target="laurn")


def test_the_real_gastric_table_gives_labels(real_data: Path) -> None:
    path = real_data / "tables/HMU-GC-Clinical.csv"
    wanted = {
        "lauren": ("Diffuse", "Intestinal", "Mixed"),
        "lymphovascular_invasion": ("Negative", "Positive"),
        "venous_invasion": ("Negative", "Positive"),
        "perineural_invasion": ("Negative", "Positive"),
    }

    found = {name: read_cohort(path, target=name) for name in wanted}

    assert {name: cohort.classes for name, cohort in found.items()} == wanted
    assert {name: len(cohort.table) for name, cohort in found.items()} == {
        "lauren": 245, "lymphovascular_invasion": 250, "venous_invasion": 217,
        "perineural_invasion": 248,
    }  # fmt: skip
