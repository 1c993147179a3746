import html
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from histokeras.cli.report import report
from histokeras.errors import ConfigError
from histokeras.report.comparison import write_comparison
from tests.report.conftest import build_patient_run


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return build_patient_run(tmp_path / "a" / "run"), build_patient_run(tmp_path / "b" / "run")


def compared(pair: tuple[Path, Path], page: Path) -> str:
    return html.unescape(write_comparison(pair, page).read_text(encoding="utf-8"))


def test_runs_stand_in_one_table_with_their_intervals(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    text = compared(pair, tmp_path / "both.html")

    for words in ("a/run", "b/run", "[0.873, 0.993]", "inceptionv3", "+0.132", "40 patients"):
        assert words in text
    assert "same test patients, as far as the records tell" in text
    data = json.loads((tmp_path / "both_files" / "auc.json").read_text())
    assert data["data"]["value"] == [0.933, 0.933]


@pytest.mark.parametrize(
    ("name", "keys", "value", "words"),
    [
        ("run.json", ("split", "sha256"), "00" * 32, "The test sets differ"),
        ("run.json", ("inputs", "labels"), "00" * 32, "The labels differ"),
        ("metrics.json", ("classes",), ["MSI-H", "other"], "The runs have different classes"),
        ("run.json", ("split",), {}, "It is not known whether the test sets differ"),
    ],
)
def test_runs_that_cannot_be_compared_are_called_so(
    name: str,
    keys: tuple[str, ...],
    value: object,
    words: str,
    pair: tuple[Path, Path],
    tmp_path: Path,
    change: Callable[..., None],
) -> None:
    change(pair[1] / name, *keys, value=value)

    text = compared(pair, tmp_path / "both.html")

    assert words in text
    assert text.count('class="caution"') == 1


def test_one_run_is_no_comparison(patient_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 2 runs"):
        write_comparison([patient_run], tmp_path / "both.html")


def test_the_command_prints_the_page(pair: tuple[Path, Path], tmp_path: Path) -> None:
    one = CliRunner().invoke(report, [str(pair[0])])
    two = CliRunner().invoke(report, [*map(str, pair), "-o", str(tmp_path / "both.html")])

    assert one.stdout.strip() == str(pair[0] / "report.html")
    assert two.stdout.strip() == str(tmp_path / "both.html")
    assert (tmp_path / "both.html").is_file()
