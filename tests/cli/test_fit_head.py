import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from tests.cli.conftest import SMALL

Call = Callable[..., Result]
QUICK = ("--head", "linear", "--epochs", 5, "--lr", 0.03, "--bootstrap", 100)


@pytest.fixture(scope="module")
def run(lab: Path, feats: Path, histokeras: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fit") / "run"
    split = out.parent / "split.csv"
    made = histokeras("split", "--labels", lab / "labels.csv", "--target", "label", "-o", split,
                      "--shares", "60/20/20")  # fmt: skip
    assert made.exit_code == 0, made.output
    result = histokeras(
        "fit-head", feats, "--labels", lab / "labels.csv", "--split", split, "-o", out, *QUICK
    )
    assert result.exit_code == 0, result.output
    assert "patients in the table 10 -> labelled 10" in result.stderr
    assert "test, patient level" in result.stderr
    assert "random:0" in result.stderr
    return out


def test_fit_head_reports_patients_with_intervals(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())

    assert metrics["positive"] == "1"
    assert metrics["label_level"] == "slide"
    level = metrics["splits"]["test"]["patient"]
    assert level["n"] == 2
    auc = level["aggregations"]["mean_probability"]["auc"]
    assert auc["low"] <= auc["value"] <= auc["high"]
    assert json.loads((run / "run.json").read_text())["features"]["settings"]["tile_size_px"] == 96


def test_predict_does_slides_in_one_command(
    lab: Path, run: Path, histokeras: Call, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(lab / "slides/case01-A.tiff", new)
    (new / "broken.svs").write_bytes(b"x" * 900)

    result = histokeras("predict", run, new, "-o", tmp_path / "out")

    assert result.exit_code == 4
    again = pd.read_csv(tmp_path / "out/predictions/case01-A.csv")
    known = pd.read_csv(run / "predictions/case01-A.csv")
    pd.testing.assert_frame_equal(again, known)
    assert pd.read_csv(tmp_path / "out/failures.csv")["slide"].tolist() == ["broken"]
    assert pd.read_csv(tmp_path / "out/slides.csv")["slide_id"].tolist() == ["case01-A"]


def test_predict_takes_features_and_evaluate_takes_its_labels(
    lab: Path, feats: Path, run: Path, histokeras: Call, tmp_path: Path
) -> None:
    assert histokeras("predict", run, feats, "-o", tmp_path).exit_code == 0

    bare = histokeras("evaluate", tmp_path)
    result = histokeras(
        "evaluate", tmp_path, "--labels", lab / "labels.csv", "-o", tmp_path / "e", "--json",
        "--bootstrap", 100,
    )  # fmt: skip

    assert bare.exit_code == 2
    assert "Give --labels" in bare.stderr
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    # Only the two test patients: the run was trained or stopped on the others.
    assert metrics["splits"]["all"]["patient"]["n"] == 2
    assert "in the training data of the run" in result.stderr
    assert metrics == json.loads((tmp_path / "e/metrics.json").read_text())
    assert len(pd.read_csv(tmp_path / "e/patients.csv")) == 2


def test_predict_refuses_features_of_another_kind(
    lab: Path, run: Path, histokeras: Call, tmp_path: Path
) -> None:
    made = histokeras(
        "extract-features", lab / "slides/case00-A.tiff", "-o", tmp_path / "f", *SMALL, "--half"
    )
    assert made.exit_code == 0

    result = histokeras("predict", run, tmp_path / "f", "-o", tmp_path / "o")

    assert result.exit_code == 3
    assert "dtype float16 (wanted float32)" in result.stderr


def test_predict_and_evaluate_never_replace_another_run(
    feats: Path, run: Path, histokeras: Call, tmp_path: Path
) -> None:
    assert histokeras("predict", run, feats, "-o", tmp_path / "p").exit_code == 0
    assert histokeras("predict", run, feats, "-o", tmp_path / "p").exit_code == 0
    record = json.loads((tmp_path / "p/run.json").read_text())
    (tmp_path / "p/run.json").write_text(json.dumps({**record, "heads": ["other"]}))

    other = histokeras("predict", run, feats, "-o", tmp_path / "p")
    itself = histokeras("predict", run, feats, "-o", run)
    figures = histokeras("evaluate", run, "-o", run, "--bootstrap", 100)

    assert other.exit_code == 3
    assert "predictions of another run" in other.stderr
    for result in (itself, figures):
        assert result.exit_code == 2
        assert "holds the output of fit-head" in result.stderr
    assert histokeras("predict", run, feats, "-o", tmp_path / "p", "--overwrite").exit_code == 0


def test_tables_of_the_user_are_never_replaced(
    lab: Path, feats: Path, run: Path, histokeras: Call, tmp_path: Path
) -> None:
    (tmp_path / "slides.csv").write_text("mine")
    labels = ("--labels", lab / "labels.csv")

    results = [
        histokeras("fit-head", feats, *labels, "-o", tmp_path, *QUICK, "--overwrite"),
        histokeras("predict", run, feats, "-o", tmp_path, "--overwrite"),
        histokeras("evaluate", run, "-o", tmp_path),
        histokeras("fit-head", feats, *labels, "-o", feats, *QUICK, "--overwrite"),
        histokeras("tile", lab / "slides", "-o", feats),
        histokeras("extract-features", lab / "slides", "-o", run, *SMALL),
    ]

    assert [result.exit_code for result in results] == [2] * 6
    assert "slides.csv of other origin" in results[0].stderr
    assert "holds the output of extract-features" in results[3].stderr
    assert (tmp_path / "slides.csv").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["slides.csv"]


def test_predict_where_every_slide_fails_points_to_the_failures(
    run: Path, histokeras: Call, tmp_path: Path
) -> None:
    (tmp_path / "bad.svs").write_bytes(b"")

    result = histokeras("predict", run, tmp_path / "bad.svs", "-o", tmp_path / "out")

    assert result.exit_code == 4
    assert "SLIDE_EMPTY" in result.stderr
    assert "Error" not in result.stderr


def test_a_split_without_validation_patients_is_refused(
    lab: Path, feats: Path, histokeras: Call, tmp_path: Path
) -> None:
    rows = [f"case{i:02d},{'train' if i < 8 else 'test'}" for i in range(10)]
    (tmp_path / "split.csv").write_text("\n".join(["patient_id,split", *rows]))

    result = histokeras("fit-head", feats, "--labels", lab / "labels.csv", "-o", tmp_path / "o",
                        "--split", tmp_path / "split.csv", *QUICK)  # fmt: skip

    assert result.exit_code == 3
    assert "nobody is in val" in result.stderr


def test_evaluate_prints_the_runs_figures(run: Path, histokeras: Call) -> None:
    result = histokeras("evaluate", run, "--bootstrap", 100)

    assert result.exit_code == 0
    assert result.stdout.startswith("test, patient level: 2 patients")


def test_the_same_fit_again_is_not_done_twice(
    lab: Path, feats: Path, run: Path, histokeras: Call
) -> None:
    arguments = ("--labels", lab / "labels.csv", "--split", run.parent / "split.csv", "-o", run)

    same = histokeras("fit-head", feats, *arguments, *QUICK, "--json")
    other = histokeras("fit-head", feats, *arguments, *QUICK, "--seed", 1)

    assert same.exit_code == 0
    assert "nothing to do" in same.stderr
    assert json.loads(same.stdout) == json.loads((run / "metrics.json").read_text())
    assert other.exit_code == 3
    assert "holds another run: other head options" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--target", "Lable"], 3, "Label"),
        (["--cv", "5", "--shares", "70/15/15"], 2, "exclude each other"),
        (["--positive", "tumour"], 2, "positive"),
        (["--cv", "8"], 3, "SPLIT_IMPOSSIBLE|patients|fold"),
        (["--head", "cnn"], 2, "is not one of"),
    ],
)
def test_slips_get_one_clear_line(
    lab: Path, feats: Path, histokeras: Call, tmp_path: Path,
    arguments: list[str], code: int, text: str,
) -> None:  # fmt: skip
    result = histokeras(
        "fit-head", feats, "--labels", lab / "labels.csv", "-o", tmp_path / "o", *QUICK, *arguments
    )

    assert result.exit_code == code, result.output
    assert any(part in result.stderr for part in text.split("|"))
    assert not (tmp_path / "o/metrics.json").exists()


def test_a_folder_without_features_says_so(lab: Path, histokeras: Call, tmp_path: Path) -> None:
    result = histokeras("fit-head", lab / "slides", "--labels", lab / "labels.csv", "-o", tmp_path)

    assert result.exit_code == 3
    assert "no feature files" in result.stderr


def test_tile_folders_carry_their_own_labels(histokeras: Call, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for label, level in (("NOR", 60), ("TUM", 160)):
        (tmp_path / "tiles" / label).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(level, level + 60, (96, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "tiles" / label / f"{i}.png")
    out = tmp_path / "feats"
    made = histokeras("extract-features", "--tiles", tmp_path / "tiles", "-o", out, *SMALL[:4])
    assert made.exit_code == 0, made.output

    refused = histokeras("fit-head", out, "-o", tmp_path / "run", *QUICK)
    accepted = histokeras("fit-head", out, "-o", tmp_path / "run", *QUICK, "--patients-unknown")

    assert refused.exit_code == 3
    assert "--patients-unknown" in refused.stderr
    assert accepted.exit_code == 0, accepted.output
    assert "not patient-safe" in accepted.stderr
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["label_level"] == "tile"
    assert not metrics["patient_safe"]
    assert metrics["splits"]["test"]["tile"]["resampled_by"] == "tile"
    table = pd.read_csv(tmp_path / "run/predictions/TUM.csv")
    assert {"tile", "label", "split", "prob_NOR", "prob_TUM"} <= set(table.columns)


@pytest.mark.parametrize(
    "given", [("--positive", "1"), ("--class-weight", "none"), ("--specificity", 0.8)]
)
def test_what_only_classes_have_is_refused_for_a_number(
    given: tuple[object, ...], lab: Path, feats: Path, histokeras: Call, tmp_path: Path
) -> None:
    result = histokeras(
        "fit-head", feats, "--labels", lab / "labels.csv", "--task", "regression", "-o",
        tmp_path / "run", *given,
    )  # fmt: skip

    assert result.exit_code == 2
    assert f"`{given[0]}` is for classification: a number has no classes" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_number_is_fitted_and_evaluated_from_the_command_line(
    lab: Path, feats: Path, histokeras: Call, tmp_path: Path
) -> None:
    labels = pd.read_csv(lab / "labels.csv", sep=";")
    labels["age"] = [40.5 + 3 * i for i in range(len(labels))]
    labels.to_csv(tmp_path / "ages.csv", index=False)
    asked = ("--labels", tmp_path / "ages.csv", "--target", "age")

    plain = histokeras("fit-head", feats, *asked, "-o", tmp_path / "run", *QUICK)
    fitted = histokeras("fit-head", feats, *asked, "-o", tmp_path / "run", *QUICK, "--task",
                        "regression", "--shares", "40/30/30")  # fmt: skip
    again = histokeras("evaluate", tmp_path / "run", "--json")
    refused = histokeras("evaluate", tmp_path / "run", "--positive", "1")

    assert plain.exit_code == 3
    assert "give `--task regression`" in plain.stderr
    assert fitted.exit_code == 0, fitted.output
    assert "`age` from 40.5" in fitted.stderr
    assert "mean absolute error" in fitted.stderr
    assert (tmp_path / "run/report.html").is_file()
    assert again.exit_code == 0, again.output
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert json.loads(again.stdout)["splits"]["test"] == metrics["splits"]["test"]
    assert (
        "--task regression" in json.loads((tmp_path / "run/run.json").read_text())["command_line"]
    )
    assert refused.exit_code == 2
    assert "these predictions are of a number, age" in refused.stderr
