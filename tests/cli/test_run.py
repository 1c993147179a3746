import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from histokeras.tissue import TISSUES

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = ("--set", "patients=16", "--set", "slide-px=512", "--set", "tile-px=64",
         "--set", "epochs=1", "--set", "trials=2")  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study") / "out"


def test_the_study_in_small_runs_both_arms_and_a_second_run_does_nothing(
    histokeras: Callable[..., Result], study: Path
) -> None:
    command = ("run", CONFIGS / "hypoxia-demo.toml", "-o", study, *SMALL)

    first = histokeras(*command)

    assert first.exit_code == 0, first.output
    assert first.stdout.strip() == str(study)
    page = (study / "study.html").read_text(encoding="utf-8")
    arms = ("features-and-head", "fine-tuned")
    for arm in arms:
        level = json.loads((study / arm / "metrics.json").read_text())["splits"]["test"]["patient"]
        assert level["aggregations"]["mean_probability"]["auc"]["low"] is not None
        assert {"majority", "colour", "floor", "tumour_type"} <= set(level["baselines"])
        assert f'<a href="{arm}/report.html">' in page
    assert "same network, not fine-tuned" in page
    assert "linear head, share of tiles" in page
    searched = json.loads((study / "tuned" / "run.json").read_text())
    assert searched["test_seen"] is True
    assert '<a href="tuned/tuning.html">' in page
    assert '<a href="clusters/report.html">' in page
    # No site in two folds, and the features are probed for it.
    folds = pd.read_csv(study / "site-folds.csv", comment="#", dtype=str)
    sites = pd.read_csv(study / "labels.csv", dtype=str).merge(folds, on="patient_id")
    assert (sites.groupby("site")["fold"].nunique() == 1).all()
    probe = json.loads((study / "by-site" / "metrics.json").read_text())["site_probe"]
    assert probe["from"] == "site"
    splits = [(study / arm / "split.csv").read_text() for arm in arms]
    assert splits[0] == splits[1]
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*") if path.is_file()}

    second = histokeras(*command, "--json")

    assert second.exit_code == 0
    assert second.stderr.count("done, nothing changed") == 11
    assert [row["status"] for row in json.loads(second.stdout)["stages"]] == ["done"] * 11
    drawn = {"study.html", "study.json"}
    for path, time in before.items():
        assert path.name in drawn or "study_files" in path.parts or path.stat().st_mtime_ns == time


def test_the_gastric_study_in_small_goes_from_tiles_to_survival(
    histokeras: Callable[..., Result], tmp_path: Path
) -> None:
    out = tmp_path / "out"

    done = histokeras(
        "run", CONFIGS / "gastric_tme-demo.toml", "-o", out, "--set", "tiles-per-class=12",
        "--set", "patients=12", "--set", "slide-px=896", "--set", "epochs=1",
        "--set", "min-tiles=2",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    page = (out / "study.html").read_text(encoding="utf-8")
    for stage in ("tissue", "tumour", "fine-tuned", "composition", "clinical", "survival"):
        assert f'<a href="{stage}/report.html">' in page
    assert json.loads((out / "tumour" / "metrics.json").read_text())["positive"] == "TUM"
    table = pd.read_csv(out / "composition" / "patients.csv")
    shares = [name for name in table if name in {f"share_{tissue}" for tissue in TISSUES}]
    assert len(shares) == 8
    assert table["patient_id"].tolist() == sorted(table["patient_id"])
    whole = table[shares].dropna().sum(axis=1)
    np.testing.assert_allclose(whole, 1)
    assert len(list((out / "maps").glob("*.class.png"))) == 12
    assert set(pd.read_csv(out / "survival" / "km.csv")["curve"]) >= {"label"}


def test_the_necrosis_study_in_small_goes_from_masks_to_areas(
    histokeras: Callable[..., Result], tmp_path: Path
) -> None:
    out = tmp_path / "out"

    done = histokeras(
        "run", CONFIGS / "necrosis-demo.toml", "-o", out, "--set", "patients=8",
        "--set", "slide-px=640", "--set", "epochs=1", "--set", "trials=1",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    page = (out / "study.html").read_text(encoding="utf-8")
    assert '<a href="segmenter/tuning.html">' in page
    assert '<a href="segmenter/best/report.html">' in page
    best = out / "segmenter" / "best"
    record = json.loads((best / "run.json").read_text())
    assert (record["command"], record["tuning"]["trial"]) == ("fit-segmenter", 0)
    trial = pd.read_csv(out / "segmenter" / "trials.csv").loc[0]
    # Of equal settings and seed the best run is the trial itself.
    assert pd.read_csv(best / "history.csv")["val_iou"].max() == trial["value"]
    tested = set(pd.read_csv(best / "patients.csv")["patient_id"])
    split = pd.read_csv(out / "split.csv", comment="#").set_index("patient_id")["split"]
    assert tested == set(split.index[split == "test"])
    areas = pd.read_csv(out / "masks" / "areas.csv")
    assert areas["slide_id"].nunique() == len(list((out / "masks").glob("*.mask.tif"))) == 8


def test_the_lymph_node_study_in_small_goes_from_drawings_to_t_mln(
    histokeras: Callable[..., Result], tmp_path: Path
) -> None:
    out = tmp_path / "out"

    done = histokeras(
        "run", CONFIGS / "lymph_node-demo.toml", "-o", out, "--set", "patients=4",
        "--set", "node-mm=0.5", "--set", "least-mm2=0.1", "--set", "epochs=1",
        "--set", "per-slide=8",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    page = (out / "study.html").read_text(encoding="utf-8")
    for stage in ("segmenter", "tumour", "nodes", "evaluation", "survival"):
        assert f'<a href="{stage}/report.html">' in page
    patients = pd.read_csv(out / "nodes" / "patients.csv")
    assert len(patients) == 4
    without = patients["n_mln"] == 0
    assert patients.loc[without, ["T_MLN_mean", "T_MLN_pooled"]].isna().all(axis=None)
    # Figures are those of the one test patient.
    split = pd.read_csv(out / "split.csv", comment="#").set_index("patient_id")["split"]
    tested = set(split.index[split == "test"])
    assert set(pd.read_csv(out / "evaluation" / "patients.csv")["patient_id"]) == tested
    # Hard tiles are normal ones, of train patients.
    tiles = pd.read_csv(out / "hard-tiles" / "tiles.csv")
    hard = tiles[tiles["hard"] == 1]
    assert len(hard) > 0
    assert set(hard["label"]) == {"normal"}
    assert set(hard["patient_id"]) <= set(split.index[split == "train"])


def test_slips_are_one_clear_line(histokeras: Callable[..., Result], tmp_path: Path) -> None:
    study = CONFIGS / "hypoxia.toml"

    missing = histokeras("run", study, "-o", tmp_path / "out")
    dry = histokeras(
        "run", study, "-o", tmp_path / "out", "--dry-run",
        "--set", "slides=my slides", "--set", "scores=s.txt",
    )  # fmt: skip
    (tmp_path / "odd.toml").write_text(
        '[[study.stages]]\ncommand = "split"\noptions = { labelz = "x", output = "y" }\n'
    )
    odd = histokeras("run", tmp_path / "odd.toml", "-o", tmp_path / "out")

    assert missing.exit_code == 2
    assert "needs slides, scores. Give --set slides=... --set scores=..." in missing.stderr
    assert dry.exit_code == 0
    assert "features: histokeras extract-features 'my slides' --output" in dry.stdout
    assert odd.exit_code == 2
    assert "unknown key 'labelz'" in odd.stderr
    assert not (tmp_path / "out").exists()
