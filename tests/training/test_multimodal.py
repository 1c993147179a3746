"""A head of survival that sees clinical columns beside tiles."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from histokeras.analysis.clinical_terms import ClinicalColumn
from histokeras.analysis.concordance import c_index
from histokeras.analysis.risk_baselines import RiskBaselines
from histokeras.cli.main import main
from histokeras.errors import FeatureError, TableError
from histokeras.features.store import FeatureSet, write_features
from histokeras.models.model_file import read_head, write_head
from histokeras.training.bags import in_bags
from histokeras.training.head import HeadConfig
from histokeras.training.loop import FitConfig, Resume
from histokeras.training.multimodal import clinical_part
from histokeras.training.risk_head import FittedRisk, Followed, fit_risk
from histokeras.training.vectors import MemoryVectors
from tests.training.conftest import SETTINGS, made_extras

FIT = FitConfig(epochs=50, learning_rate=0.04, patience=25, batch_size=512)
COLUMNS = (ClinicalColumn("age", "number"), ClinicalColumn("noise", "number"))


def followed(n: int, seed: int) -> Followed:
    """Patients half of whose hazard the tiles carry, and half a clinical number of large scale."""
    rng = np.random.default_rng(seed)
    image, age = rng.normal(size=(2, n))
    vectors = rng.normal(size=(n, 5, 6))
    vectors[:, :, 0] += image[:, np.newaxis]
    time = rng.exponential(np.exp(-1.5 * (image + age)))
    end = rng.exponential(2, n)
    tiles = MemoryVectors(vectors.reshape(-1, 6).astype(np.float32))
    bags = in_bags(tiles, np.repeat(np.arange(n), 5))
    clinical = np.column_stack([60 + 10 * age, rng.normal(size=n)])
    return Followed(bags, np.minimum(time, end), time < end, clinical)


def alone(patients: Followed) -> Followed:
    return dataclasses.replace(patients, clinical=None)


@pytest.mark.parametrize("head", ["linear", "mlp", "mil"])
def test_both_halves_tell_more_than_either_and_survive_saving(head: str, tmp_path: Path) -> None:
    train, val, test = followed(200, 0), followed(80, 1), followed(120, 2)
    # Its steps are slower, and one of them learns more.
    fit = dataclasses.replace(FIT, epochs=10) if head == "mil" else FIT
    config = HeadConfig(head=head, fit=fit)
    assert test.clinical is not None

    both = fit_risk(train, val, config, start=np.array([1.0, 0.0]))
    image = fit_risk(alone(train), alone(val), config)

    tiles, risk, _ = both.risks(test.bags, test.clinical)
    found = c_index(test.time, test.event, risk)
    assert found > c_index(test.time, test.event, test.clinical[:, 0]) + 0.03
    assert found > c_index(test.time, test.event, image.risks(test.bags)[1]) + 0.03
    # What the tiles of a patient say is on the patient's own scale.
    means = [tiles[part, 0].mean() for part in test.bags.positions]
    np.testing.assert_allclose(means, risk, atol=1e-5)
    # One linear layer over both: ten years more add the same to everyone.
    older = both.risks(test.bags, test.clinical + np.array([10, 0]))[1] - risk
    np.testing.assert_allclose(older, older[0], atol=1e-5)
    assert older[0] > 0.3
    both = dataclasses.replace(both, columns=COLUMNS)
    card = {"head": head, "n_features": 6, "classes": [], "task": "survival", "target": "t, e"}
    write_head(tmp_path, both.model, {**card, **both.facts()})
    again = FittedRisk.of_card(*read_head(tmp_path))
    assert again.columns == COLUMNS
    np.testing.assert_allclose(again.risks(test.bags, test.clinical)[1], risk, rtol=1e-5)
    for fitted, terms in ((both, None), (image, test.clinical)):
        with pytest.raises(ValueError, match="the terms that the head was trained with"):
            fitted.risks(test.bags, terms)
    write_head(tmp_path, both.model, {**card, **both.facts(), "clinical_terms": ["age"]})
    with pytest.raises(FeatureError, match="do not fit the head"):
        read_head(tmp_path)


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    train, val = followed(40, 0), followed(12, 1)
    config = HeadConfig(head="mlp", fit=FitConfig(epochs=5, learning_rate=0.01, batch_size=16))
    start = np.array([0.8, 0.0])
    whole = fit_risk(train, val, config, start=start)

    class Stop(Exception): ...

    def stop(row: dict[str, float]) -> None:
        if row["epoch"] == 3:
            raise Stop

    said: list[str] = []
    resume = Resume(tmp_path / "head.safetensors", "key", said.append)
    with pytest.raises(Stop):
        fit_risk(train, val, config, start=start, resume=resume, on_epoch=stop)
    after = fit_risk(train, val, config, start=start, resume=resume)

    assert "goes on after epoch" in said[0]
    pd.testing.assert_frame_equal(after.history, whole.history, rtol=1e-4)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of 120 patients that carry half of their hazard, and the other half in a column."""
    folder = tmp_path_factory.mktemp("multimodal")
    (folder / "features").mkdir()
    rng = np.random.default_rng(3)
    rows = []
    for number in range(120):
        image, own = rng.normal(size=2)
        time, end = rng.exponential(20 * np.exp(-2 * (image + own))) + 0.1, rng.exponential(60)
        rows.append({
            "patient_id": f"P{number:02d}", "time": round(min(time, end + 0.1), 2),
            "event": int(time < end + 0.1), "age": "" if number % 11 == 5 else round(60 + 9 * own),
            "sex": "mf"[number % 2], "days_to_death": round(time, 2),
        })  # fmt: skip
        vectors = rng.normal(size=(5, 4)).astype(np.float32)
        vectors[:, 0] += 3 * image
        name = f"P{number:02d}"
        tiles = pd.DataFrame({"slide_id": name, "x": np.arange(5) * 224, "y": 448})
        about = {"slide_id": name, "settings": SETTINGS, "n_tiles": 5}
        side = {"patch_size": 224, "patch_size_level0": 224}
        extras = made_extras(rng, 5, 0)
        features = FeatureSet(vectors, tiles, "resnet50", about, side, extras)
        write_features(folder / "features" / f"{name}.h5", features)
    pd.DataFrame(rows).to_csv(folder / "clinical.csv", index=False)
    names = [row["patient_id"] for row in rows]
    pd.DataFrame({"slide_id": names, "patient_id": names}).to_csv(
        folder / "slides.csv", index=False
    )
    return folder


def fit(cohort: Path, out: Path, *more: str, task: str = "survival") -> tuple[int, str]:
    result = CliRunner().invoke(main, [
        "fit-head", str(cohort), "--labels", str(cohort / "clinical.csv"), "--slide-table",
        str(cohort / "slides.csv"), "--task", task, "--bootstrap", "200", "--lr", "0.06",
        "--epochs", "30", "--patience", "25", "--with-clinical", "-o", str(out), *more,
    ])  # fmt: skip
    return result.exit_code, " ".join(result.output.split())


def test_a_run_stands_beside_each_part_alone(cohort: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, said = fit(cohort, run, "--cv", "4")

    assert code == 0, said
    assert "It tells more than the same head on images alone" in said
    assert "clinical columns: age, sex, which the head learned from too" in said
    level = json.loads((run / "metrics.json").read_text())["splits"]["test"]["patient"]
    for name in ("clinical", "image"):
        assert level["baselines"][name]["difference"]["c_index"]["low"] > 0, name
    patients = pd.read_csv(run / "patients.csv", keep_default_na=False)
    assert {"risk", "clinical_risk", "image_risk"} <= set(patients)
    card = json.loads((run / "folds/0/head/model.json").read_text())
    assert card["clinical_terms"] == ["age", "age: missing", "sex: male"]
    assert [column["name"] for column in card["clinical"]] == ["age", "sex"]
    page = re.sub(r"<[^>]+>", " ", (run / "report.html").read_text())
    for words in ("same head, image alone", "Clinical columns entered its last linear layer",
                  "C-index of the image alone", "Beside each part alone"):  # fmt: skip
        assert words in page, words
    assert "nothing to do" in fit(cohort, run, "--cv", "4")[1]
    # An age that was mended is another study.
    mended = pd.read_csv(cohort / "clinical.csv", dtype=str, keep_default_na=False)
    mended.loc[0, "age"] = "99"
    mended.to_csv(tmp_path / "mended.csv", index=False)
    code, said = fit(cohort, run, "--cv", "4", "--labels", str(tmp_path / "mended.csv"))
    assert code != 0, said
    assert "--overwrite" in said


def test_slips_are_one_clear_line(cohort: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.csv"
    table = pd.read_csv(cohort / "clinical.csv")
    table[["patient_id", "time", "event", "days_to_death"]].to_csv(bare, index=False)

    code, said = fit(cohort, tmp_path / "run", "--labels", str(bare))
    assert (code, "no columns that are known to be clinical" in said) == (3, True), said
    code, said = fit(cohort, tmp_path / "run", "--clinical-columns", "age,event")
    assert (code, "is the outcome itself" in said) == (3, True), said
    code, said = fit(cohort, tmp_path / "run", "--target", "sex", task="classification")
    assert (code, "`--with-clinical` is for survival" in said) == (2, True), said


def test_columns_that_never_differ_in_train_are_refused() -> None:
    with pytest.raises(TableError, match=r"\(age\) are the same for all training patients"):
        clinical_part({"age": pd.Series([1.0], index=["P"])}, ["P"], np.ones(1, bool),
                      RiskBaselines())  # fmt: skip
