import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from histokeras.features.store import read_provenance
from tests.cli.conftest import write_slide

Call = Callable[..., Result]
QUICK = ("--backbone", "mini", "--tile-px", "64", "--epochs", 1, "--shares", "60/20/20",
         "--bootstrap", 100, "--tiles-per-patient", 4, "--augment", "flips", "--drop-block", 0.1,
         "--drop-block-steps", 4)  # fmt: skip


@pytest.fixture(scope="module")
def command(lab: Path) -> tuple[object, ...]:
    return ("finetune", lab / "slides", "--labels", lab / "labels.csv", *QUICK)


@pytest.fixture(scope="module")
def run(
    command: tuple[object, ...], histokeras: Call, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "run"
    result = histokeras(*command, "-o", out)
    assert result.exit_code == 0, result.output
    for word in ("1 of 3", "2 of 3", "3 of 3", "epoch 0", "same network, not fine-tuned"):
        assert word in result.stderr
    assert result.stdout.strip() == str(out)
    return out


def test_a_fine_tuned_run_is_an_ordinary_run(
    run: Path, lab: Path, histokeras: Call, tmp_path: Path
) -> None:
    new = tmp_path / "new.tiff"
    write_slide(new, seed=77, size_px=(448, 448), kind="a", downsamples=(2,))

    predicted = histokeras("predict", run, new, lab / "slides" / "case00-A.tiff", "-o",
                           tmp_path / "out")  # fmt: skip
    evaluated = histokeras("evaluate", run, "--bootstrap", 100)
    explained = histokeras("explain", run, new, "-o", tmp_path / "explained", "--n", 1,
                           "--predictions", tmp_path / "out")  # fmt: skip

    assert predicted.exit_code == 0, predicted.output
    again = pd.read_csv(tmp_path / "out" / "predictions" / "case00-A.csv")
    known = pd.read_csv(run / "predictions" / "case00-A.csv")
    pd.testing.assert_frame_equal(again, known[list(again)], atol=1e-6)
    assert evaluated.exit_code == 0, evaluated.output
    assert explained.exit_code == 0, explained.output
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Then the last block of the backbone except BatchNormalization" in page
    assert "The backbone as it was saved made the features that were evaluated" in page
    assert "with DropBlock (Ghiasi et al. 2018; squares of 7 x 7 cells, up to 0.1 of" in page
    assert "reached after 4 steps)" in page


def test_its_backbone_serves_other_commands(
    run: Path, lab: Path, histokeras: Call, tmp_path: Path
) -> None:
    slide = lab / "slides" / "case01-A.tiff"

    result = histokeras("extract-features", slide, "-o", tmp_path / "feats", "--backbone", "mini",
                        "--tile-px", 64, "--weights", run)  # fmt: skip
    other = histokeras("extract-features", slide, "-o", tmp_path / "other", "--backbone",
                       "mobilenetv2", "--weights", run)  # fmt: skip

    assert result.exit_code == 0, result.output
    tuned = read_provenance(run / "tuned" / "features" / "case01-A.h5")
    found = read_provenance(tmp_path / "feats" / "features" / "case01-A.h5")
    assert found["arrays_sha256"] == tuned["arrays_sha256"]
    assert other.exit_code == 3
    assert "does not hold fine-tuned weights of mobilenetv2: it holds mini" in other.stderr


def test_the_same_command_does_nothing_and_another_is_refused(
    run: Path, command: tuple[object, ...], histokeras: Call
) -> None:
    again = histokeras(*command, "-o", run, "--json")
    other = histokeras(*command, "-o", run, "--unfreeze", "all")

    assert again.exit_code == 0, again.output
    assert "finished: nothing to do" in again.stderr
    assert json.loads(again.stdout) == json.loads((run / "metrics.json").read_text())
    assert other.exit_code == 3
    assert "holds another run: other finetune (unfreeze)" in other.stderr


def test_bad_slides_are_listed_and_the_others_go_on(
    command: tuple[object, ...], lab: Path, histokeras: Call, tmp_path: Path
) -> None:
    slides = tmp_path / "slides"
    shutil.copytree(lab / "slides", slides)
    (slides / "case09-A.tiff").write_bytes(b"no slide")

    result = histokeras("finetune", slides, *command[2:], "-o", tmp_path / "run")

    assert result.exit_code == 4, result.output
    assert "case09-A" in (tmp_path / "run" / "failures.csv").read_text()
    assert "case09" in (tmp_path / "run" / "dropped.csv").read_text()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "done with failures"


def test_slips_are_one_clear_line(lab: Path, histokeras: Call, tmp_path: Path) -> None:
    slides, labels = lab / "slides", ("--labels", lab / "labels.csv")
    numbers = tmp_path / "numbers.csv"
    rows = [
        {"slide_id": f"case{i:02d}-A", "patient_id": f"p{i}", "label": i / 7} for i in range(10)
    ]
    pd.DataFrame(rows).to_csv(numbers, index=False)
    cases: list[tuple[tuple[object, ...], int, str]] = [
        ((slides, "-o", tmp_path / "a"), 2, "`--labels` is needed"),
        ((slides, *labels, "-o", tmp_path / "a", "--backbone", "stain-texture"), 2, "no network"),
        ((tmp_path, *labels, "-o", tmp_path / "a", "--backbone", "mini"), 3, "no slide"),
        ((slides, *labels, "-o", tmp_path / "a", "--target", "score", "--backbone", "mini"), 3,
         "score"),
        ((slides, *labels, "-o", tmp_path / "a", "--backbone", "inceptionv3", "--drop-block", 0.1),
         2, "`--drop-block` is of resnet50, mini"),
        ((slides, "--labels", numbers, "-o", tmp_path / "a", "--backbone", "mini"), 3,
         "numbers are learned by `fit-head --task regression`"),
    ]  # fmt: skip

    for arguments, code, message in cases:
        result = histokeras("finetune", *arguments)
        assert result.exit_code == code, result.output
        assert message in result.stderr
        assert result.stderr.count("Error:") == 1
    # Nothing was extracted before the tables were found to be wrong.
    assert not (tmp_path / "a").exists()
