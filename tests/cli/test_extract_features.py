import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from histokeras.features.store import read_features
from tests.cli.conftest import SMALL

Call = Callable[..., Result]


def test_extraction_writes_what_the_readme_says(feats: Path) -> None:
    names = {path.name for path in feats.iterdir()}
    assert names == {"features", "tiles", "empty", "run.json", "failures.csv"}
    record = json.loads((feats / "run.json").read_text())
    assert record["status"] == "done"
    assert len(record["slides"]) == 10
    assert record["settings"]["weights"] == "random:0"
    assert record["versions"]["keras"]
    assert record["devices"]["replicas"] == 1
    assert str(feats.parent) not in (feats / "run.json").read_text()
    for path in (feats / "features").iterdir():
        features = read_features(path)
        assert features.vectors.shape == (len(pd.read_csv(
            feats / "tiles" / f"{path.stem}.csv").query("kept")), 1280)  # fmt: skip


def test_the_same_command_again_says_that_nothing_is_to_do(
    lab: Path, feats: Path, histokeras: Call
) -> None:
    before = {path: path.stat().st_mtime_ns for path in feats.rglob("*.h5")}

    result = histokeras("extract-features", lab / "slides", "-o", feats, *SMALL)

    assert result.exit_code == 0
    assert "10 slide(s) are done and verified: nothing to do" in result.stderr
    assert result.stdout.strip() == str(feats)
    assert before == {path: path.stat().st_mtime_ns for path in feats.rglob("*.h5")}


def test_reading_batch_and_threads_change_no_bit(
    lab: Path, feats: Path, histokeras: Call, tmp_path: Path
) -> None:
    options = ("--batch-size", 7, "--workers", 1)
    slides = sorted((lab / "slides").iterdir())[:3]
    result = histokeras("extract-features", *slides[::-1], "-o", tmp_path, *SMALL, *options)

    assert result.exit_code == 0
    for path in (tmp_path / "features").iterdir():
        assert path.read_bytes() == (feats / "features" / path.name).read_bytes()


def test_a_bad_slide_gives_exit_code_4_and_a_row(
    lab: Path, histokeras: Call, tmp_path: Path
) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    shutil.copy(lab / "slides/case00-A.tiff", folder)
    (folder / "empty.svs").write_bytes(b"")

    result = histokeras("extract-features", folder, "-o", tmp_path / "out", *SMALL)

    assert result.exit_code == 4
    failures = pd.read_csv(tmp_path / "out/failures.csv")
    assert failures[["slide", "code"]].to_numpy().tolist() == [["empty", "SLIDE_EMPTY"]]
    assert (tmp_path / "out/features/case00-A.h5").exists()
    assert "empty: SLIDE_EMPTY" in result.stderr


def test_a_dry_run_counts_and_writes_nothing(lab: Path, histokeras: Call, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = histokeras(
        "extract-features", lab / "slides", "-o", out, *SMALL, "--dry-run", "--json"
    )

    assert result.exit_code == 0
    plan = json.loads(result.stdout)
    assert plan["todo"] == 10
    assert plan["bytes"] == plan["tiles"] * (1280 * 4 + 16) > 0
    assert not out.exists()


def test_other_options_on_a_folder_in_use_are_refused(
    lab: Path, feats: Path, histokeras: Call
) -> None:
    result = histokeras("extract-features", lab / "slides", "-o", feats, *SMALL[:-1], 128)

    assert result.exit_code == 3
    assert "tile_size_px 96 (wanted 128)" in result.stderr
    assert "--overwrite" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_missing_imagenet_weights_stop_before_any_work(
    lab: Path, histokeras: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr("histokeras.models.weights.urllib.request.urlopen", _refuse)
    result = histokeras("extract-features", lab / "slides", "-o", tmp_path / "out")

    assert result.exit_code == 5
    assert "88 MB" in result.stderr
    assert "(3)" in result.stderr
    assert not (tmp_path / "out").exists()


def _refuse(*args: object, **kwargs: object) -> None:
    import urllib.error

    raise urllib.error.URLError("no network")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--backbone", "vgg"], 2, "is not one of"),
        (["--mpp", "0.5", "--mag", "20"], 2, "--mpp or --mag"),
        (["--weights", "nowhere.h5"], 5, "names no file"),
        (["--tile-table", "{labels}"], 2, "give --tiles too"),
        (["--tissue", "nonsense"], 2, "--tissue"),
        (["--gpus", "9"], 2, "GPU 9"),
        (["--bogus"], 2, "No such option"),
    ],
)
def test_slips_get_one_clear_line(
    lab: Path, histokeras: Call, tmp_path: Path, arguments: list[str], code: int, text: str
) -> None:
    given = [item.format(labels=lab / "labels.csv") for item in arguments]
    weights = [] if "--weights" in given else ["--weights", "random:0"]
    result = histokeras("extract-features", lab / "slides", "-o", tmp_path / "o", *weights, *given)

    assert result.exit_code == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_underscores_and_peers_names_work(lab: Path, histokeras: Call, tmp_path: Path) -> None:
    result = histokeras(
        "extract_features", lab / "slides/case00-A.tiff", "--job_dir", tmp_path,
        "--patch_encoder", "mobilenetv2", "--weights", "random:0", "--patch_size", 96,
        "--max_background", 0.5,
    )  # fmt: skip

    assert result.exit_code == 0, result.output


def test_config_environment_and_options_rank_in_this_order(
    lab: Path, histokeras: Call, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        '[extract-features]\nbackbone = "mobilenetv2"\nweights = "random:1"\ntile-px = 96\n'
        "max_background = 0.4\nmpp = 0.5\n"
    )
    env = {"HISTOKERAS_EXTRACT_FEATURES_TILE_PX": "80",
           "HISTOKERAS_EXTRACT_FEATURES_MAX_BACKGROUND": "0.3"}  # fmt: skip
    result = histokeras(
        "extract-features", lab / "slides/case00-A.tiff", "-o", tmp_path / "o", "--config", config,
        "--max-background", 0.2, "--dry-run", "--json", env=env,
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    settings = json.loads(result.stdout)["settings"]
    assert settings["weights"] == "random:1"
    assert settings["tile_size_px"] == 80
    assert settings["tile_max_background"] == 0.2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[extract-features]\nbackbon = 'resnet50'\n", "Did you mean 'backbone'"),
        ("[extract]\n", "Did you mean 'extract-features'"),
        ("[extract-features\n", "is not TOML"),
    ],
)
def test_unknown_config_keys_are_refused_with_the_nearest_name(
    lab: Path, histokeras: Call, tmp_path: Path, text: str, expected: str
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    result = histokeras("extract-features", lab / "slides", "-o", tmp_path, "--config", config)

    assert result.exit_code == 2
    assert expected in result.stderr


def test_environment_variables_go_by_the_options_users_see(
    feats: Path, lab: Path, histokeras: Call, tmp_path: Path
) -> None:
    env = {"HISTOKERAS_FIT_HEAD_CV": "2"}
    result = histokeras("fit-head", feats, "--labels", lab / "labels.csv", "-o", tmp_path, env=env)

    assert result.exit_code == 2
    assert "2 is not in the range x>=3" in result.stderr


def test_unknown_environment_variables_are_refused(histokeras: Call) -> None:
    env = {"HISTOKERAS_EXTRACT_FEATURES_BACKBON": "resnet50"}
    result = histokeras("doctor", env=env)

    assert result.exit_code == 2
    assert "HISTOKERAS_EXTRACT_FEATURES_BACKBONE" in result.stderr


def test_verify_finds_a_damaged_file(feats: Path, histokeras: Call, tmp_path: Path) -> None:
    out = Path(shutil.copytree(feats, tmp_path / "feats"))
    good = histokeras("verify", out)
    victim = out / "features/case03-A.h5"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))

    bad = histokeras("verify", out, "--json")

    assert good.exit_code == 0
    assert "10 ok, 0 bad" in good.stdout
    assert bad.exit_code == 4
    found = {row["file"]: row["status"] for row in json.loads(bad.stdout)}
    assert found.pop("case03-A.h5") == "bad"
    assert set(found.values()) == {"ok"}
