import json
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from histokeras.cli.main import main
from histokeras.training import tune_segmenter
from tests.cli.test_fit_segmenter import paint

SMALL = ("--network", "unet", "--channels", 4, "--crop-px", 64, "--epochs", 2, "--steps-per-epoch",
         1, "--bootstrap", 100, "--gpus", "cpu", "--shares", "60/20/20", "--trials", 2)  # fmt: skip


def call(folder: Path, output: Path, *more: object) -> Result:
    given = ("tune", "segmenter", folder / "images", "--masks", folder / "masks", "-o", output)
    return CliRunner().invoke(main, [str(item) for item in (*given, *SMALL, *more)])


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("painted"), 5)


def test_the_best_trial_is_no_worse_than_the_default_and_is_an_ordinary_run(
    painted: Path, tmp_path: Path
) -> None:
    options = ("--set", "batch-size=2,4", "--grey", "--search-only")
    found = call(painted, tmp_path / "a", *options)
    other = call(painted, tmp_path / "b", *options)
    ended = call(painted, tmp_path / "a", *options[:-1])

    assert found.exit_code == other.exit_code == ended.exit_code == 0, found.output + ended.output
    trials, same = (
        pd.read_csv(tmp_path / name / "trials.csv").drop(columns="seconds") for name in "ab"
    )
    pd.testing.assert_frame_equal(trials, same)
    summary = json.loads((tmp_path / "a/tuning.json").read_text())
    assert summary["best"]["value"] == trials["value"].max() >= summary["default"]["value"]
    record = json.loads((tmp_path / "a/best/run.json").read_text())
    assert (record["command"], record["status"]) == ("fit-segmenter", "done")
    assert record["tuning"]["trial"] == summary["best"]["number"]
    best = tomllib.loads((tmp_path / "a/best.toml").read_text())["fit-segmenter"]
    assert (best["grey"], record["inputs"]["network"]["n_inputs"]) == (True, 1)
    training = record["inputs"]["training"]
    chosen = {name.replace("-", "_"): value for name, value in summary["best"]["params"].items()}
    assert {name: training[name] for name in chosen} == chosen
    # The same network, trained once more: the same figure.
    history = pd.read_csv(tmp_path / "a/best/history.csv")
    assert history["val_iou"].max() == pytest.approx(summary["best"]["value"], abs=1e-6)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--network", "deeplabv3", "--backbone", "mini", "--weights", "random:0",
          "--set", "output-stride=16,4"), 2, "`output_stride` must be one of 8, 16"),
        (("--fix", "freeze=half"), 2, "takes NAME=... of the search space"),
    ],
)  # fmt: skip
def test_what_no_trial_could_be_fitted_with_is_told_before_the_first(
    options: tuple[object, ...], code: int, message: str, painted: Path, tmp_path: Path
) -> None:
    result = call(painted, tmp_path / "out", *options)

    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.split())
    assert "epoch" not in result.output
    assert not (tmp_path / "out/trials.csv").exists()


def test_batches_that_the_devices_cannot_share_are_told_before_the_first_trial(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eight = SimpleNamespace(num_replicas_in_sync=8)
    monkeypatch.setattr(tune_segmenter, "choose_strategy", lambda gpus: eight)

    result = call(painted, tmp_path / "out")

    assert result.exit_code == 2, result.output
    assert "4 cannot be shared equally among 8" in result.output
    assert not (tmp_path / "out/trials.csv").exists()
