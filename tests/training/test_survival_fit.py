import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from histokeras.analysis.concordance import c_index
from histokeras.analysis.saved import open_saved
from histokeras.cli.main import main
from histokeras.errors import ConfigError
from histokeras.features.store import FeatureSet, write_features
from histokeras.models.heads import build_risk_head
from histokeras.models.model_file import read_head, write_head
from histokeras.report.comparison import write_comparison
from histokeras.training.bags import in_bags
from histokeras.training.head import HeadConfig
from histokeras.training.loop import FitConfig, Resume
from histokeras.training.risk_head import FittedRisk, Followed, fit_risk
from histokeras.training.trained_run import open_run
from histokeras.training.vectors import MemoryVectors
from tests.training.conftest import SETTINGS, made_extras

FIT = FitConfig(epochs=25, learning_rate=0.03, patience=8, batch_size=512)


def followed(n: int, seed: int, *, n_features: int = 6, n_tiles: int = 5) -> Followed:
    """Patients whose hazard goes with the mean of their tiles' first feature."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=n)
    vectors = rng.normal(size=(n, n_tiles, n_features))
    vectors[:, :, 0] += means[:, np.newaxis]
    time = rng.exponential(np.exp(-1.5 * means))
    end = rng.exponential(2, n)
    bags = in_bags(
        MemoryVectors(vectors.reshape(-1, n_features).astype(np.float32)),
        np.repeat(np.arange(n), n_tiles),
    )
    return Followed(bags, np.minimum(time, end), time < end)


@pytest.mark.parametrize("head", ["linear", "mlp", "mil"])
def test_a_head_learns_a_planted_hazard_and_survives_saving(head: str, tmp_path: Path) -> None:
    train, val, test = followed(120, 0), followed(16, 1), followed(60, 2)

    fitted = fit_risk(train, val, HeadConfig(head=head, fit=FIT))
    tiles, risk, attention = fitted.risks(test.bags)

    # As good as the feature that the hazard was made of, or nearly.
    own = [test.bags.take(part)[:, 0].mean() for part in test.bags.positions]
    best = c_index(test.time, test.event, np.array(own, float))
    assert best > 0.7
    assert c_index(test.time, test.event, risk) > best - 0.05
    kept = fitted.history[fitted.history["best"]].iloc[0]
    assert kept["val_loss"] == fitted.history["val_loss"].min()
    of_train = fitted.risks(train.bags)[1]
    assert of_train.mean() == pytest.approx(0, abs=1e-4)
    assert np.median(of_train) == pytest.approx(fitted.cut, abs=1e-4)
    if head == "mil":
        assert attention is not None
        assert attention[test.bags.positions[0]].sum() == pytest.approx(1, abs=1e-5)
    else:
        # A patient's risk is the mean of those of its tiles.
        means = [tiles[part, 0].mean() for part in test.bags.positions]
        np.testing.assert_allclose(means, risk, atol=1e-5)
    card = {"head": head, "n_features": 6, "classes": [], "task": "survival", "target": "t, e"}
    write_head(tmp_path, fitted.model, {**card, **fitted.facts()})
    again = FittedRisk.of_card(*read_head(tmp_path))
    np.testing.assert_allclose(again.risks(test.bags)[1], risk, rtol=1e-5)


def test_an_interrupted_training_goes_on_and_small_batches_learn_too(tmp_path: Path) -> None:
    train, val = followed(40, 0), followed(12, 1)
    config = HeadConfig(head="mlp", fit=FitConfig(epochs=6, learning_rate=0.01, batch_size=16))
    whole = fit_risk(train, val, config)
    resume = Resume(tmp_path / "head.safetensors", "key")

    class Stop(Exception): ...

    def stop(row: dict[str, float]) -> None:
        if row["epoch"] == 3:
            raise Stop

    with pytest.raises(Stop):
        fit_risk(train, val, config, resume=resume, on_epoch=stop)
    said: list[str] = []
    going = Resume(resume.path, "key", said.append)
    assert resume.path.is_file()
    after = fit_risk(train, val, config, resume=going)

    assert "goes on after epoch" in said[0]
    pd.testing.assert_frame_equal(after.history, whole.history, rtol=1e-4)
    with pytest.raises(ConfigError, match="`head` must be one of linear, mlp, mil"):
        build_risk_head("write-up", 4)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of 60 patients whose first feature is their hazard, and their clinical table."""
    folder = tmp_path_factory.mktemp("survival")
    (folder / "features").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(60):
        hazard = rng.normal()
        time, end = rng.exponential(20 * np.exp(-2 * hazard)) + 0.1, rng.exponential(60) + 0.1
        rows.append({
            "patient_id": f"P{number:02d}", "OS_MONTHS": round(min(time, end), 2),
            "OS_STATUS": "1:DECEASED" if time < end else "0:LIVING",
            "age": int(rng.integers(40, 80)), "pT": f"T{rng.integers(1, 5)}",
            "days_to_death": time, "label": "ab"[number % 2], "site": f"S{number % 3}",
        })  # fmt: skip
        for slide in range(1 + number % 2):
            name, n = f"P{number:02d}_{slide}", 4 + number % 3
            vectors = rng.normal(size=(n, 8)).astype(np.float32)
            vectors[:, 0] += 2 * hazard
            tiles = pd.DataFrame({"slide_id": name, "x": np.arange(n) * 224, "y": 448})
            about = {"slide_id": name, "settings": SETTINGS, "n_tiles": n}
            side = {"patch_size": 224, "patch_size_level0": 224}
            extras = made_extras(rng, n, 0)
            features = FeatureSet(vectors, tiles, "resnet50", about, side, extras)
            write_features(folder / "features" / f"{name}.h5", features)
    pd.DataFrame(rows).to_csv(folder / "clinical.csv", index=False)
    slides = sorted(path.stem for path in (folder / "features").iterdir())
    pd.DataFrame({"slide_id": slides, "patient_id": [name[:3] for name in slides]}).to_csv(
        folder / "slides.csv", index=False
    )
    return folder


def fit(cohort: Path, out: Path, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, [
        "fit-head", str(cohort), "--labels", str(cohort / "clinical.csv"), "--slide-table",
        str(cohort / "slides.csv"), "--task", "survival", "--bootstrap", "200", "--lr", "0.03",
        "-o", str(out), *more,
    ])  # fmt: skip
    return result.exit_code, result.output


def test_a_run_from_the_table_to_the_page(cohort: Path, tmp_path: Path) -> None:
    code, said = fit(cohort, tmp_path / "run", "--cv", "4", "--epochs", "15")

    assert code == 0, said
    assert "`OS_MONTHS, OS_STATUS`: " in said
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    level = metrics["splits"]["test"]["patient"]
    assert (metrics["time"], metrics["event"]) == ("OS_MONTHS", "OS_STATUS")
    assert level["aggregations"]["risk"]["c_index"]["low"] > 0.6
    assert level["aggregations"]["risk"]["hazard_ratio"]["low"] > 1
    assert level["groups"]["p"] < 0.05
    # Not the day of death, which is the outcome again.
    assert level["clinical_columns"] == ["age", "pT"]
    assert set(level["baselines"]) == {"constant", "clinical", "colour", "floor", "site"}
    assert level["baselines"]["clinical"]["difference"]["c_index"]["low"] > 0
    assert level["verdict"]["beaten"] is True
    patients = pd.read_csv(tmp_path / "run/patients.csv")
    clinical = pd.read_csv(cohort / "clinical.csv")
    assert patients["patient_id"].tolist() == clinical["patient_id"].tolist()
    assert patients["time"].tolist() == clinical["OS_MONTHS"].tolist()
    assert patients["event"].tolist() == clinical["OS_STATUS"].str[0].astype(int).tolist()
    # From the file of a patient's slides to the patient: the mean over all tiles.
    tiles = pd.concat(pd.read_csv(p) for p in (tmp_path / "run/predictions").glob("P01_*.csv"))
    assert list(tiles) == ["minx", "miny", "width", "height", "risk"]
    assert tiles["risk"].mean() == pytest.approx(patients["risk"][1], abs=1e-5)
    page = (tmp_path / "run/report.html").read_text()
    text = re.sub(r"<[^>]+>", " ", page)
    for words in ("Number at risk", "clinical columns alone", "Clinical columns: age and pT",
                  "partial likelihood of Cox", "events and quantiles of their times"):  # fmt: skip
        assert words in text, words
    assert "Lowest" in text
    again = fit(cohort, tmp_path / "run", "--cv", "4", "--epochs", "15")
    assert "nothing to do" in again[1]
    for refused in (open_run, open_saved):
        with pytest.raises(ConfigError, match="survival, which this command does not know"):
            refused(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    with pytest.raises(ConfigError, match=r"runs of survival \(run and other\)"):
        write_comparison([tmp_path / "run", tmp_path / "other"], tmp_path / "c.html")


def test_one_split_of_attention_with_few_test_events_says_so(cohort: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    pd.read_csv(cohort / "clinical.csv").head(30).to_csv(few, index=False)
    code, said = fit(cohort, tmp_path / "run", "--head", "mil", "--labels", str(few), "--epochs",
                     "3", "--clinical-columns", "age,label")  # fmt: skip

    assert code == 0, said
    assert "test patient(s): with fewer than 5 nothing is computed" in said
    tiles = pd.read_csv(tmp_path / "run/predictions/P00_0.csv")
    assert list(tiles)[-2:] == ["risk", "attention"]
    assert tiles["attention"].sum() == pytest.approx(1, abs=1e-4)
    patients = pd.read_csv(tmp_path / "run/patients.csv")
    assert set(patients["risk_group"]) <= {"high", "low"}
    train = patients[patients["split"] == "train"]
    # The cut is the median of the training patients.
    assert abs((train["risk_group"] == "high").sum() - len(train) / 2) <= 1
    terms = json.loads((tmp_path / "run/head/baselines.json").read_text())["clinical"]
    assert list(terms["log_hazard_ratios"]) == ["age", "label: b"]
    assert "No figures: too few events were tested" in (tmp_path / "run/report.html").read_text()


@pytest.mark.parametrize(("more", "code", "said"), [
    (("--head", "write-up"), 2, "--head write-up does not learn survival"),
    (("--target", "age"), 2, "--time and --event name what is learned"),
    (("--positive", "1"), 2, "survival has no classes"),
    (("--time", "months"), 3, "has no column `months`"),
    (("--clinical-columns", "age,OS_MONTHS"), 3, "is the outcome itself"),
    (("--shares", "20/40/40"), 3, "too few events to learn from: train"),
])  # fmt: skip
def test_slips_are_one_clear_line(
    cohort: Path, tmp_path: Path, more: tuple[str, ...], code: int, said: str
) -> None:
    found, output = fit(cohort, tmp_path / "run", *more)

    assert (found, said in " ".join(output.split())) == (code, True), output


def test_options_of_survival_are_refused_elsewhere(cohort: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [
        "fit-head", str(cohort), "--labels", str(cohort / "clinical.csv"), "--target", "site",
        "--time", "OS_MONTHS", "-o", str(tmp_path / "run"),
    ])  # fmt: skip

    assert result.exit_code == 2
    assert "`--time` is for survival: classes have no follow-up" in result.output
