import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from histokeras.cli.main import main
from histokeras.cohort.labels import read_cohort

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: object, command: str = "label-hypoxia") -> Result:
    return CliRunner().invoke(main, [command, *map(str, arguments)])


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """120 patients of three types in Bhandari's form, and a further sample of the first."""
    rng = np.random.default_rng(0)
    types = ("BRCA", "GBM", "OV")
    rows = [
        f"TCGA.{'AB'[i % 2]}2.{i:04d}\t{2 * rng.integers(-25, 25) + 1}\t{types[i % 3]}"
        for i in range(120)
    ]
    rows.append(f"{rows[0].split()[0]}.1\t51\tBRCA")
    path = tmp_path / "supplement.txt"
    head = "patient_id\tBuffa_hypoxia_score_pan_cancer\ttumour_type"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_labels_are_written_with_what_was_left_out_and_a_record(
    scores: Path, tmp_path: Path
) -> None:
    output = tmp_path / "new" / "labels.csv"

    result = run(scores, "-o", output)

    assert result.exit_code == 0, result.output
    assert result.stdout == f"{output}\n"
    assert "rule tumour-type: score from `Buffa_hypoxia_score_pan_cancer`" in result.stderr
    assert "1 of 121 rows left out: further sample" in result.stderr
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "labels.csv", "labels.dropped.csv", "labels.run.json",
    ]  # fmt: skip
    cohort = read_cohort(output)
    assert cohort.classes == ("hypoxic", "non-hypoxic")
    assert len(cohort.table) == 120
    dropped = pd.read_csv(output.with_name("labels.dropped.csv"))
    assert dropped[["kind", "id", "row"]].to_numpy().tolist() == [["row", "TCGA-A2-0000-1", 122]]
    record = json.loads(output.with_name("labels.run.json").read_text())
    assert (record["command"], record["rule"], record["status"]) == (
        "label-hypoxia",
        "tumour-type",
        "done",
    )
    assert set(record["thresholds"]) == {"BRCA", "GBM", "OV"}
    assert record["config"]["scores"] == "supplement.txt"
    assert str(tmp_path) not in json.dumps(record)


def test_the_same_command_again_changes_nothing_and_another_is_refused(
    scores: Path, tmp_path: Path
) -> None:
    output = tmp_path / "labels.csv"
    run(scores, "-o", output)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    again = run(scores, "-o", output)
    other = run(scores, "-o", output, "--rule", "pooled")

    assert "unchanged: the same labels" in again.stderr
    assert other.exit_code == 2
    assert "exists and holds something else" in other.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert run(scores, "-o", output, "--rule", "pooled", "--overwrite").exit_code == 0
    assert pd.read_csv(output)["rule"].unique().tolist() == ["pooled"]


def test_the_study_walks_from_scores_to_split_to_labels(scores: Path, tmp_path: Path) -> None:
    config = ("--config", ROOT / "configs/hypoxia.toml")
    split, labels = tmp_path / "split.csv", tmp_path / "labels.csv"

    made = run("--labels", scores, "-o", split, *config, "--json", command="split")
    assert made.exit_code == 0, made.output
    result = run(scores, "-o", labels, "--fit-on", split, "--json", *config)

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["rule"] == "tumour-type fitted on train"
    assert report["fit_on"] == json.loads(made.stdout)["sha256"]
    assert report["counts"]["all"]["learned_from"] == 84
    assert report["counts"]["all"]["n"] == 120
    assert report["counts"]["all"]["threshold"] is None
    assert [row["id"] for row in report["dropped"]] == ["TCGA-A2-0000-1"]
    record = json.loads((tmp_path / "labels.run.json").read_text())
    assert record["min_group"] == 10
    assert record["command_line"].endswith("--fit-on split.csv")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--rule", "min-max"], 2, "`--rule` is tumour-type, pooled, sign or cutoff=X"),
        (["--rule", "cutoff=99"], 3, "leaves no hypoxic patient, and 120 non-hypoxic"),
        (["--tumour-types", "BRCA,OVV"], 2, "has no 'OVV'. Did you mean 'OV'?"),
        (["--score", "West"], 3, "the table has no column `West`"),
        (["--min-group", "0"], 2, "0 is not in the range"),
        (["--fit-on", "SCORES"], 3, "needs a `patient_id` column and one of `split` and `fold`"),
    ],
)
def test_slips_get_one_clear_line_and_nothing_is_written(
    scores: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    words = [str(scores) if word == "SCORES" else word for word in arguments]

    result = run(scores, "-o", tmp_path / "labels.csv", *words)

    assert result.exit_code == code
    assert message in result.stderr
    assert not list(tmp_path.glob("labels*"))


def test_the_output_is_a_csv_of_its_own(scores: Path, tmp_path: Path) -> None:
    before = scores.read_bytes()
    for name, message in (
        (scores, "is one of the tables that are read"),
        (tmp_path, "is the name of a .csv file"),
        (tmp_path / "labels.xlsx", "is the name of a .csv file"),
    ):
        result = run(scores, "-o", name, "--overwrite")
        assert result.exit_code == 2
        assert message in result.stderr
    assert scores.read_bytes() == before


def test_ties_and_types_not_asked_for_are_told_apart(scores: Path, tmp_path: Path) -> None:
    result = run(
        scores, "-o", tmp_path / "l.csv", "--tumour-types", "brca,gbm", "--ties", "drop",
        "--rule", "cutoff=1", "--keep-samples",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "tumour type not asked for 40" in result.stderr
    assert "tumour type not asked for: OV" not in result.stderr
    assert "ties are labelled" not in result.stderr
    dropped = pd.read_csv(tmp_path / "l.dropped.csv")["reason"]
    assert (dropped == "tumour type not asked for: OV").sum() == 40
    written = pd.read_csv(tmp_path / "l.csv")
    assert written["rule"].unique().tolist() == ["cutoff=1"]
    assert len(written) + len(dropped) == 121
