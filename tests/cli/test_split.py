import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from histokeras.cli.main import main
from histokeras.cohort.split import read_split


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    rows = [f"p{i:02d},{'ab'[i % 2]},{'xy'[i % 3 == 0]}" for i in range(40)]
    path.write_text("\n".join(["patient_id,label,site", *rows]) + "\n")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["split", *map(str, arguments)])


def test_split_prints_the_path_and_shows_the_counts(labels: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "split.csv"

    result = run("--labels", labels, "--target", "label", "-o", output)

    assert result.exit_code == 0, result.output
    assert result.stdout == f"{output}\n"
    assert "40 rows at patient level, classes a, b" in result.stderr
    assert [line.split() for line in result.stderr.splitlines()[1:]] == [
        ["patients", "a", "b"],
        ["split"],
        ["train", "28", "14", "14"],
        ["val", "6", "3", "3"],
        ["test", "6", "3", "3"],
    ]
    assert read_split(output).signed


def test_the_same_command_again_changes_nothing_and_another_is_refused(
    labels: Path, tmp_path: Path
) -> None:
    output = tmp_path / "split.csv"
    run("--labels", labels, "-o", output)
    before = output.read_bytes()

    again = run("--labels", labels, "-o", output)
    other = run("--labels", labels, "-o", output, "--seed", 1)

    assert again.exit_code == 0
    assert "unchanged" in again.stderr
    assert other.exit_code == 2
    assert "--overwrite" in other.stderr
    assert output.read_bytes() == before
    assert run("--labels", labels, "-o", output, "--seed", 1, "--overwrite").exit_code == 0
    assert read_split(output).seed == 1


def test_json_holds_the_counts_and_every_dropped_row(labels: Path, tmp_path: Path) -> None:
    labels.write_text(labels.read_text() + "p98,,x\np99,NA,x\n")

    result = run(
        *("--labels", labels, "--target", "label", "-o", tmp_path / "folds.csv"),
        *("--cv", 4, "--stratify", "site", "--json"),
    )

    content = json.loads(result.stdout)
    assert content["folds"] == 4
    assert content["stratify"] == ["site"]
    assert content["counts"]["0"] == {"patients": 10, "a": 5, "b": 5}
    assert content["dropped"] == [
        {"row": 42, "id": "p98", "reason": "no label"},
        {"row": 43, "id": "p99", "reason": "no label"},
    ]
    assert "row 42: 'p98': no label" in result.stderr
    assert content["sha256"] == read_split(tmp_path / "folds.csv").digest


def test_many_dropped_rows_are_cut_on_the_screen_only(labels: Path, tmp_path: Path) -> None:
    labels.write_text(labels.read_text() + "".join(f"q{i},,x\n" for i in range(30)))

    result = run("--labels", labels, "--target", "label", "-o", tmp_path / "s.csv", "--json")

    assert "... and 10 more" in result.stderr
    assert len(json.loads(result.stdout)["dropped"]) == 30


def test_tiles_without_patients_need_a_flag_and_are_called_unsafe(tmp_path: Path) -> None:
    table = tmp_path / "tiles.csv"
    table.write_text("tile,label\n" + "".join(f"t{i}.png,{'ab'[i % 2]}\n" for i in range(20)))
    output = tmp_path / "split.csv"

    refused = run("--labels", table, "--target", "label", "-o", output)
    accepted = run("--labels", table, "--target", "label", "-o", output, "--patients-unknown")

    assert refused.exit_code == 3
    assert refused.stderr.startswith("Error: the patient of 20 of 20 row(s) is unknown")
    assert accepted.exit_code == 0
    assert "Warning: tile-level, not patient-safe" in accepted.stderr
    assert read_split(output).note == "tile-level, not patient-safe"


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--shares", "70/30"], 2, "train/val/test such as 70/15/15"),
        (["--shares", "70/15/15", "--cv", "5"], 2, "exclude each other"),
        (["--cv", "2"], 2, "at least 3 folds"),
        (["--target", "labell"], 3, "Did you mean `label`"),
        (["--target", "label", "--cv", "21"], 3, "fewer patients than the 21 sides"),
    ],
)
def test_wrong_wishes_are_one_clean_line(
    labels: Path, tmp_path: Path, more: list[str], code: int, message: str
) -> None:
    result = run("--labels", labels, "-o", tmp_path / "split.csv", *more)

    assert result.exit_code == code
    assert message in result.stderr.replace("\n", " ")
    assert not (tmp_path / "split.csv").exists()


def test_what_is_typed_wins_over_what_excludes_it_in_a_config_file(
    labels: Path, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[split]\nshares = "40/20/40"\n')
    rest = ("--labels", labels, "--target", "label", "--config", config, "-o")

    folds = run(*rest, tmp_path / "folds.csv", "--cv", "4")
    shares = run(*rest, tmp_path / "split.csv")
    config.write_text('[split]\nshares = "40/20/40"\ncv = 4\n')
    both = run(*rest, tmp_path / "both.csv")

    assert folds.exit_code == shares.exit_code == 0, folds.output
    assert read_split(tmp_path / "folds.csv").meta["folds"] == 4
    assert set(read_split(tmp_path / "split.csv").table["split"]) == {"train", "val", "test"}
    assert (both.exit_code, "exclude each other" in both.stderr) == (2, True)


def test_folds_of_sites_set_aside_what_a_config_file_balances(tmp_path: Path) -> None:
    labels, config = tmp_path / "labels.csv", tmp_path / "c.toml"
    rows = [f"p{i:02},{'ab'[i % 2]},s{i % 5},t{i % 3}" for i in range(60)]
    labels.write_text("\n".join(["patient_id,label,site,type", *rows]))
    config.write_text('[split]\nshares = "40/20/40"\nstratify = "type"\n')

    done = run("--labels", labels, "--target", "label", "--config", config,
               "--cv", "3", "--preserve-site", "-o", tmp_path / "folds.csv")  # fmt: skip
    typed = run("--labels", labels, "--target", "label", "--cv", "3", "--preserve-site",
                "--stratify", "type", "-o", tmp_path / "none.csv")  # fmt: skip

    assert done.exit_code == 0, done.output
    assert read_split(tmp_path / "folds.csv").sites is not None
    assert typed.exit_code == 2
    assert "`--preserve-site`, `--stratify` exclude each other" in typed.stderr


def test_other_tools_names_and_underscores_work(labels: Path, tmp_path: Path) -> None:
    result = run("--clini_table", labels, "--out", tmp_path / "s.csv", "--patients_unknown")

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("way", ["same", "dotted", "symlink", "hardlink"])
def test_the_label_table_is_never_overwritten(labels: Path, tmp_path: Path, way: str) -> None:
    output = tmp_path / "other.csv"
    if way == "symlink":
        output.symlink_to(labels)
    elif way == "hardlink":
        output.hardlink_to(labels)
    else:
        output = labels if way == "same" else tmp_path / "x" / ".." / labels.name
    (tmp_path / "x").mkdir()
    before = labels.read_bytes()

    result = run("--labels", labels, "-o", output, "--overwrite")

    assert result.exit_code == 2
    assert "is the label table itself" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert labels.read_bytes() == before


def test_the_balanced_columns_are_counted_on_each_side(labels: Path, tmp_path: Path) -> None:
    result = run("--labels", labels, "-o", tmp_path / "s.csv", "--stratify", "site", "--json")

    # 14 of the 40 patients are y.
    assert "site: train x 18, y 10; val x 4, y 2; test x 4, y 2\n" in result.stderr
    assert result.stdout.startswith("{")


def test_a_column_of_many_classes_is_cut_on_the_screen(labels: Path, tmp_path: Path) -> None:
    rows = [f"p{i:02d},c{i % 10},s{i % 10}" for i in range(60)]
    labels.write_text("\n".join(["patient_id,label,site", *rows]) + "\n")

    result = run(
        "--labels", labels, "--target", "label", "-o", tmp_path / "s.csv", "--stratify", "site"
    )

    assert "classes c0, c1, c2, c3, c4, c5, c6, c7, ... and 2 more" in result.stderr
    assert "s7 4, ... and 2 more; val" in result.stderr


def test_a_continuous_target_is_one_short_line(labels: Path, tmp_path: Path) -> None:
    rows = [f"p{i:02d},{i / 7:.3f}" for i in range(60)]
    labels.write_text("\n".join(["patient_id,score", *rows]) + "\n")

    result = run("--labels", labels, "--target", "score", "-o", tmp_path / "s.csv")

    assert result.exit_code == 3
    assert "60 different numbers" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_patients_with_several_labels_are_noted_once(labels: Path, tmp_path: Path) -> None:
    rows = [f"s{i},p{i % 20},{'ab'[i % 3 == 0]}" for i in range(40)]
    labels.write_text("\n".join(["slide_id,patient_id,label", *rows]) + "\n")

    result = run("--labels", labels, "--target", "label", "-o", tmp_path / "s.csv")

    assert result.stderr.count("carry more than one label: 'p0' (a, b)") == 1


def test_a_number_is_balanced_by_its_quantiles(tmp_path: Path) -> None:
    rows = "".join(f"P{i:02d},{i * 1.5}\n" for i in range(40))
    (tmp_path / "scores.csv").write_text(f"patient_id,score\n{rows}")
    asked = ["split", "--labels", str(tmp_path / "scores.csv"), "--task", "regression",
             "-o", str(tmp_path / "split.csv")]  # fmt: skip

    without = CliRunner().invoke(main, asked)
    result = CliRunner().invoke(main, [*asked, "--target", "score", "--json"])

    assert without.exit_code == 2
    assert "needs `--target COLUMN`" in without.stderr
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)["counts"]
    assert counts["train"]["patients"] == 28
    assert abs(counts["test"]["mean"] - 29.25) < 8
