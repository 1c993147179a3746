import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from histokeras.cli.options import _typed
from histokeras.cli.slides import slides as slides_command
from histokeras.slides.synthetic import write_slide

Call = Callable[..., Result]
STUDY = ("--diagnostic-only", "--sample-types", "01")
PATIENTS = [f"TCGA-A2-000{i}" for i in range(8)]
DX = [f"{name}-01Z-00-DX1" for name in PATIENTS]
FROZEN, NORMAL, META = (
    f"{PATIENTS[0]}-01A-01-TSA",
    f"{PATIENTS[1]}-11A-01-DX1",
    "TCGA-A2-0009-06A-00-DX1",
)
OTHERS = [FROZEN, NORMAL, META]
SMALL = ("--backbone", "stain-texture", "--tile-px", "96", "--max-background", "1")
REASONS = {
    FROZEN: "not diagnostic: TS (frozen, top)",
    NORMAL: "other sample type: sample type 11 (normal tissue)",
    META: "other sample type: sample type 06 (metastasis)",
}


@pytest.fixture(scope="module")
def tcga(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides of eight patients, three more that the study leaves out, and labels."""
    folder = tmp_path_factory.mktemp("tcga")
    (folder / "slides").mkdir()
    for number, name in enumerate([*DX, *OTHERS]):
        path = folder / "slides" / f"{name}.tiff"
        write_slide(path, seed=number, size_px=(224, 224), kind="ab"[number % 2], downsamples=())
    labels = pd.DataFrame({"patient_id": PATIENTS, "label": ["a", "b"] * 4})
    labels.to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def everything(tcga: Path, histokeras: Call) -> Path:
    """Features of all slides."""
    result = histokeras("extract-features", tcga / "slides", "-o", tcga / "all", *SMALL)
    assert result.exit_code == 0, result.output
    return tcga / "all"


@pytest.fixture(scope="module")
def run(tcga: Path, everything: Path, histokeras: Call) -> Path:
    result = histokeras(
        "fit-head", everything, "--labels", tcga / "labels.csv", "-o", tcga / "run",
        "--head", "linear", "--epochs", 2, "--bootstrap", 100,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return tcga / "run"


def outcomes(folder: Path) -> dict[str, str]:
    rows = json.loads((folder / "run.json").read_text())["slides"]
    return {row["slide"]: row.get("reason", row["outcome"]) for row in rows}


def test_slides_lists_what_is_taken_and_what_is_left_out(tcga: Path, histokeras: Call) -> None:
    plain = histokeras("slides", tcga / "slides")
    chosen = histokeras("slides", tcga / "slides", *STUDY, "--json")

    assert all(name in plain.stdout for name in [*DX, *OTHERS])
    assert plain.stderr == ""
    report = json.loads(chosen.stdout)
    assert [row["slide"] for row in report["slides"]] == DX
    assert {row["slide"]: row["reason"] for row in report["left_out"]} == REASONS
    assert chosen.stderr.startswith("3 of 11 slide(s) left out: 1 not diagnostic: TS (frozen, top)")


def test_nothing_left_is_one_clear_line(tcga: Path, histokeras: Call, tmp_path: Path) -> None:
    for command in (["slides"], ["tile", "-o", tmp_path / "t"]):
        result = histokeras(*command, tcga / f"slides/{FROZEN}.tiff", "--diagnostic-only")

        assert result.exit_code == 3
        assert result.stderr.startswith(
            "Error: `--diagnostic-only` leaves none of the 1 slide(s): 1 not diagnostic: TS"
        )
        assert "--all-slides" in result.stderr
    slip = histokeras("slides", tcga / "slides", "--sample-types", "tumour")
    assert slip.exit_code == 2
    assert "TCGA codes such as 01" in slip.stderr
    assert not (tmp_path / "t").exists()


def test_tile_records_the_slides_that_it_leaves_out(
    tcga: Path, histokeras: Call, tmp_path: Path
) -> None:
    result = histokeras("tile", tcga / "slides", "-o", tmp_path, "--tile-px", 96, *STUDY)

    assert result.exit_code == 0, result.output
    assert {name: why for name, why in outcomes(tmp_path).items() if why != "done"} == REASONS
    assert len(list((tmp_path / "tiles").glob("*.csv"))) == 8


def test_a_config_asks_for_them_and_the_command_line_wins(
    tcga: Path, histokeras: Call, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[slides]\ndiagnostic-only = true\nsample-types = "01"\n')

    asked = histokeras("slides", tcga / "slides", "--config", config, "--json")
    typed = histokeras(
        "slides",
        tcga / "slides",
        "--config",
        config,
        "--all-slides",
        "--sample-types",
        "",
        "--json",
    )

    assert len(json.loads(asked.stdout)["slides"]) == 8
    assert len(json.loads(typed.stdout)["slides"]) == 11
    flag = next(item for item in slides_command.params if item.name == "diagnostic_only")
    assert [_typed(flag, value) for value in (True, False)] == [
        ["--diagnostic-only"],
        ["--all-slides"],
    ]


def test_extract_features_leaves_out_and_fit_head_lists_it(
    tcga: Path, histokeras: Call, tmp_path: Path
) -> None:
    command = ["extract-features", tcga / "slides", "-o", tmp_path / "f", *SMALL, *STUDY]

    planned = histokeras(*command, "--dry-run", "--json")
    made = histokeras(*command)
    again = histokeras(*command)
    fitted = histokeras(
        "fit-head", tmp_path / "f", "--labels", tcga / "labels.csv", "-o", tmp_path / "run",
        "--head", "linear", "--epochs", 2, "--bootstrap", 100,
    )  # fmt: skip

    assert (json.loads(planned.stdout)["slides"], json.loads(planned.stdout)["todo"]) == (8, 8)
    assert made.exit_code == 0, made.output
    assert "3 of 11 slide(s) left out" in made.stderr
    assert sorted(path.stem for path in (tmp_path / "f/features").glob("*.h5")) == DX
    assert "nothing to do" in again.stderr
    assert {
        name: why for name, why in outcomes(tmp_path / "f").items() if name in OTHERS
    } == REASONS
    record = json.loads((tmp_path / "f/run.json").read_text())
    assert "--diagnostic-only --sample-types 01" in record["command_line"]
    assert fitted.exit_code == 0, fitted.output
    dropped = pd.read_csv(tmp_path / "run/dropped.csv").set_index("id")["reason"]
    assert {name: dropped[name] for name in OTHERS} == {
        name: f"left out, {why}" for name, why in REASONS.items()
    }


def test_a_folder_with_features_of_unwanted_slides_is_refused(
    tcga: Path, everything: Path, histokeras: Call
) -> None:
    result = histokeras("extract-features", tcga / "slides", "-o", everything, *SMALL, *STUDY)

    assert result.exit_code == 3
    assert f"holds features of 3 slide(s) that are left out now, first '{FROZEN}'" in result.stderr
    assert "--all-slides" in histokeras("extract-features", "--help").stdout


def test_normal_tissue_is_dropped_without_any_option(run: Path) -> None:
    dropped = pd.read_csv(run / "dropped.csv").set_index("id")["reason"]

    assert dropped[NORMAL].startswith("sample type 11 (normal tissue) never inherits")
    assert FROZEN not in dropped.index
    used = pd.read_csv(run / "slides.csv")["slide_id"].tolist()
    assert NORMAL not in used
    assert FROZEN in used


def test_predict_leaves_out_slides_and_features_alike(
    tcga: Path, everything: Path, run: Path, histokeras: Call, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    for name in (DX[0], FROZEN, NORMAL):
        shutil.copy(tcga / f"slides/{name}.tiff", new)

    by_features = histokeras("predict", run, everything, "-o", tmp_path / "a", *STUDY)
    by_slides = histokeras("predict", run, new, "-o", tmp_path / "b", *STUDY)
    frozen_too = histokeras("predict", run, everything, "-o", tmp_path / "d")
    none = histokeras("predict", run, everything, "-o", tmp_path / "c", "--sample-types", "02")

    assert by_features.exit_code == 0, by_features.output
    assert "3 of 11 slide(s) left out" in by_features.stderr
    assert pd.read_csv(tmp_path / "a/slides.csv")["slide_id"].tolist() == DX
    assert {name: outcomes(tmp_path / "a")[name] for name in OTHERS} == REASONS
    assert "normal tissue" not in by_features.stderr.split("left out")[1].split("\n", 1)[1]
    assert f"1 slide(s) of normal tissue count in patients.csv, first '{NORMAL}'" in (
        frozen_too.stderr
    )
    assert by_slides.exit_code == 0, by_slides.output
    assert pd.read_csv(tmp_path / "b/slides.csv")["slide_id"].tolist() == [DX[0]]
    assert outcomes(tmp_path / "b")[NORMAL] == REASONS[NORMAL]
    assert none.exit_code == 3
    assert "leaves none of the 11 slide(s)" in none.stderr
    assert not (tmp_path / "c").exists()
