import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from histokeras.cohort.synthetic import HAZARD_RATIO, STAGE_RATIO, CohortSpec, sample_cohort
from histokeras.features.store import FeatureSet, write_features

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clinical table, shares of tissue (of all but three patients) and a split."""
    folder = tmp_path_factory.mktemp("survival")
    cohort = sample_cohort(CohortSpec(seed=1, n_patients=400)).drop(columns="n_slides")
    cohort.drop(columns="hypoxia_score").to_csv(folder / "clinical.csv", index=False)
    shares = np.random.default_rng(0).dirichlet([4, 2, 1], 400)
    tissue = pd.DataFrame(shares, columns=["share_TUM", "share_STR", "share_LYM"])
    tissue = tissue.assign(
        patient_id=cohort["patient_id"], n_tiles=90, share_TUM_low=shares[:, 0] - 0.1
    )
    tissue.iloc[3:].to_csv(folder / "tissue.csv", index=False)
    side = ["train", "train", "test", "train", "val"] * 80
    pd.DataFrame({"patient_id": cohort["patient_id"], "split": side}).to_csv(
        folder / "split.csv", index=False
    )
    return folder


def test_survival_finds_what_was_planted(histokeras: Call, tables: Path, tmp_path: Path) -> None:
    command = (
        "survival", "--clinical", tables / "clinical.csv", "--table", tables / "tissue.csv",
        "--group", "T", "--group", "share_TUM", "--cutoff", "logrank", "--bootstrap", 200,
        "--time-unit", "months", "--cv", 3, "-o", tmp_path / "out",
    )  # fmt: skip
    done = histokeras(*command)
    again = histokeras(*command, "--json")
    other = histokeras(*command[:-2], "--seed", 1, "-o", tmp_path / "out")

    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "out")
    cox = pd.read_csv(tmp_path / "out/cox.csv")
    both = cox[cox["model"] == "clinical+table"].set_index("column")
    for column, planted in (("label", HAZARD_RATIO), ("T", STAGE_RATIO)):
        assert both.loc[column, "low"] < planted < both.loc[column, "high"]
        assert both.loc[column, "low"] > 1
    # Shares make up 1: the last tells nothing that the others do not. Sites and counts are no facts
    # of the patient.
    assert set(cox["column"]) >= {"share_TUM", "share_STR", "age", "sex"}
    assert not {"site", "n_tiles", "share_TUM_low", "time"} & set(cox["column"])
    assert "share_LYM" not in both.index
    metrics = json.loads(again.stdout)
    models = metrics["compared"]["models"]
    assert models["clinical"]["c_index"]["low"] > 0.5
    assert models["table"]["c_index"]["low"] < 0.5 < models["table"]["c_index"]["high"]
    less = models["clinical+table"]["difference"]
    assert less["value"] == pytest.approx(
        models["clinical+table"]["c_index"]["value"] - models["clinical"]["c_index"]["value"]
    )
    patients = pd.read_csv(tmp_path / "out/patients.csv")
    assert len(patients) == 397
    assert sorted(patients["fold"].unique()) == [0, 1, 2]
    curves = {curve["name"]: curve for curve in metrics["curves"]}
    assert [level["group"] for level in curves["T"]["levels"]] == ["T1", "T2", "T3", "T4"]
    assert curves["T"]["log_rank"]["df"] == 3
    assert len(curves["share_TUM"]["cutoffs"]) == 3
    assert curves["risk_clinical+table"]["log_rank"]["p"] < 0.001
    page = (tmp_path / "out/report.html").read_text()
    # Shares of chance; what they cost or add is told as it is.
    assert ("made clinical columns worse" if less["high"] < 0 else "adds nothing") in page
    assert "more than clinical" not in page
    assert "Patients at risk" in page
    assert "not in the table of the tissue" in page
    assert other.exit_code == 3
    assert "other seed" in other.stderr


def test_a_split_learns_on_train_and_val_and_cuts_there(
    histokeras: Call, tables: Path, tmp_path: Path
) -> None:
    clinical = pd.read_csv(tables / "clinical.csv")
    done = histokeras(
        "survival", "--clinical", tables / "clinical.csv", "--split", tables / "split.csv",
        "--group", "age", "--columns", "label,T", "--bootstrap", 100, "-o", tmp_path / "out",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    patients = pd.read_csv(tmp_path / "out/patients.csv")
    tested = patients["fold"].notna()
    assert tested.sum() == 80
    assert patients["risk_clinical"].notna().equals(tested)
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    age = next(curve for curve in metrics["curves"] if curve["name"] == "age")
    learned = clinical["age"][~tested.to_numpy()]
    assert age["cutoffs"] == [{"value": float(learned.median()), "p": None, "n_learned_from": 320}]
    groups = patients["group_age"][tested] == "high"
    assert (groups.to_numpy() == (clinical["age"] > learned.median())[tested].to_numpy()).all()
    assert "unit not given" in (tmp_path / "out/report.html").read_text()


def test_a_given_cutoff_is_told_as_given(histokeras: Call, tables: Path, tmp_path: Path) -> None:
    done = histokeras(
        "survival", "--clinical", tables / "clinical.csv", "--cut", "age=60", "--columns", "label",
        "--bootstrap", 100, "--cv", 3, "-o", tmp_path / "out",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "Log-rank, age (cut at 60 as given): p" in done.stderr
    patients = pd.read_csv(tmp_path / "out/patients.csv")
    age = pd.read_csv(tables / "clinical.csv")["age"]
    assert (patients["group_age"] == np.where(age > 60, "high", "low")).all()
    page = (tmp_path / "out/report.html").read_text()
    assert "Cut at 60, which was given: nothing was learned from these patients." in page
    assert "Given, and not learned, were the cut-offs of age at 60." in page


def test_few_events_are_said_and_nothing_is_computed(
    histokeras: Call, tables: Path, tmp_path: Path
) -> None:
    clinical = pd.read_csv(tables / "clinical.csv").head(14)
    clinical.assign(event=[1, 1, 1, 1, 1, 1] + [0] * 8).to_csv(tmp_path / "c.csv", index=False)

    done = histokeras("survival", "--clinical", tmp_path / "c.csv", "-o", tmp_path / "out")

    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert not metrics["compared"]["computed"]
    assert not any(model["terms"] for model in metrics["models"])
    assert "Fewer than 10 events are too few" in done.stderr
    page = (tmp_path / "out/report.html").read_text()
    assert "6 events: too few to compute from" in page
    assert "median" in page


def test_many_columns_for_few_events_are_refused_and_separation_is_said(
    histokeras: Call, tables: Path, tmp_path: Path
) -> None:
    clinical = pd.read_csv(tables / "clinical.csv").head(60)
    event = np.arange(60) % 3 == 0
    clinical = clinical.assign(event=event.astype(int), certain=np.where(event, "yes", "no"))
    clinical.to_csv(tmp_path / "c.csv", index=False)
    common = ("survival", "--clinical", tmp_path / "c.csv", "--bootstrap", 100)

    many = histokeras(*common, "-o", tmp_path / "many")
    two = histokeras(*common, "--columns", "age,certain", "-o", tmp_path / "two")

    assert many.exit_code == two.exit_code == 0, many.output + two.output
    assert "20 events are too few for 7 terms" in many.stderr
    cox = pd.read_csv(tmp_path / "two/cox.csv", keep_default_na=False)
    assert "separates those with the event" in " ".join(cox["problem"])
    assert cox[cox["model"] == "clinical"]["column"].tolist() == ["age"]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"event": 0}, "COX_IMPOSSIBLE", "all are censored"),
        ({"event": [2] + [1] * 399}, "", "row 2"),
        ({"time": [-3.0] + [1.0] * 399}, "", "row 2"),
    ],
)
def test_impossible_outcomes_are_named(
    histokeras: Call, tables: Path, tmp_path: Path, change: dict[str, object], code: str, words: str
) -> None:
    pd.read_csv(tables / "clinical.csv").assign(**change).to_csv(tmp_path / "c.csv", index=False)

    done = histokeras("survival", "--clinical", tmp_path / "c.csv", "-o", tmp_path / "out")

    assert done.exit_code == 3
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_an_outcome_the_columns_and_the_alternative_are_named(
    histokeras: Call, tables: Path, tmp_path: Path
) -> None:
    clinical = pd.read_csv(tables / "clinical.csv").drop(columns=["time", "event"])
    clinical.to_csv(tmp_path / "c.csv", index=False)

    done = histokeras("survival", "--clinical", tmp_path / "c.csv", "-o", tmp_path / "out")

    assert done.exit_code == 3
    assert "`time`" in done.stderr
    assert "`event`" in done.stderr
    assert "histokeras fit-head" in done.stderr


def test_slips_are_told(histokeras: Call, tables: Path, tmp_path: Path) -> None:
    common = ("survival", "--clinical", tables / "clinical.csv", "-o", tmp_path / "out")
    other = pd.read_csv(tables / "tissue.csv").assign(patient_id=[f"x{i}" for i in range(397)])
    other.to_csv(tmp_path / "other.csv", index=False)

    column = histokeras(*common, "--columns", "labl")
    strangers = histokeras(*common, "--table", tmp_path / "other.csv")
    both = histokeras(*common, "--split", tables / "split.csv", "--cv", 3)
    cut = histokeras(*common, "--cut", "age=old")

    assert column.exit_code == 3
    assert "Did you mean `label`?" in column.stderr
    assert strangers.exit_code == 3
    assert "no patient is left: not in the table of the tissue" in strangers.stderr
    assert both.exit_code == 2
    assert "exclude each other" in both.stderr
    assert cut.exit_code == 2
    assert "'age=old' is no COLUMN=VALUE" in cut.stderr


def test_components_of_features_tell_the_risk_of_patients_not_seen(
    histokeras: Call, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    risk, axis = rng.normal(size=60), rng.normal(size=12)
    (tmp_path / "feats").mkdir()
    for number in range(60):
        for slide in "ab" if number % 2 else "a":
            vectors = risk[number] * axis + rng.normal(size=(5, 12))
            slide_id = f"s{number:02d}{slide}"
            tiles = pd.DataFrame({"slide_id": slide_id, "x": range(5), "y": 0})
            features = FeatureSet(
                vectors.astype(np.float32), tiles, "made", {"slide_id": slide_id}, {"patch_size": 1}
            )
            write_features(tmp_path / "feats" / f"{slide_id}.h5", features)
    slides = sorted(path.stem for path in (tmp_path / "feats").iterdir())
    pd.DataFrame({"slide_id": slides, "patient_id": [f"p{name[1:3]}" for name in slides]}).to_csv(
        tmp_path / "slides.csv", index=False
    )
    pd.DataFrame({
        "patient_id": [f"p{i:02d}" for i in range(62)],
        "time": rng.exponential(np.exp(-np.append(risk, [0, 0]))).round(3) + 0.001,
        "event": 1, "age": rng.integers(40, 80, 62),
    }).to_csv(tmp_path / "clinical.csv", index=False)  # fmt: skip

    done = histokeras(
        "survival", "--clinical", tmp_path / "clinical.csv", "--features", tmp_path / "feats",
        "--slide-table", tmp_path / "slides.csv", "--bootstrap", 100, "-o", tmp_path / "out",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    models = metrics["compared"]["models"]
    assert metrics["n"] == 60
    assert models["features"]["c_index"]["low"] > 0.55
    assert models["clinical+features"]["difference"]["low"] > 0
    assert "Features tell more than clinical columns" in (tmp_path / "out/report.html").read_text()
    dropped = pd.read_csv(tmp_path / "out/dropped.csv")
    assert dropped[dropped["reason"] == "no features"]["id"].tolist() == ["p60", "p61"]


def test_without_statsmodels_the_extra_is_named(
    histokeras: Call, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("histokeras.analysis.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("statsmodels")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "statsmodels", None)

    done = histokeras("survival", "--clinical", tables / "clinical.csv", "-o", tmp_path / "out")

    assert done.exit_code == 5
    assert 'pip install "histokeras[survival]"' in done.stderr
