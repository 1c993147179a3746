import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import histokeras as hk
from histokeras.analysis.saved import open_saved
from histokeras.errors import ConfigError, TableError
from histokeras.features.index import index_features
from histokeras.report.page import write_report
from histokeras.training import pictures
from histokeras.training.classifier import open_classifier
from histokeras.training.fit_job import FitJob, prepare_study
from histokeras.training.fit_run import run_fit
from histokeras.training.head import HeadConfig
from histokeras.training.loop import FitConfig
from histokeras.training.predict_job import predict_index, write_predicted
from histokeras.training.trained_run import open_run

MIL = HeadConfig(head="mil", fit=FitConfig(epochs=8, batch_size=4, learning_rate=3e-3, patience=4))


def job_of(folder: Path, **changes: object) -> FitJob:
    known = {"features": folder, "labels": folder / "labels.csv",
             "slide_table": folder / "slides.csv", "head": MIL, "n_resamples": 100}  # fmt: skip
    return FitJob(**{**known, **changes})


@pytest.fixture(scope="module")
def finished(cohort_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mil") / "run"
    job = job_of(cohort_folder, positive="pos")
    run_fit(job, prepare_study(job), out, config={"labels": job.labels})
    return out


def predictions(run: Path) -> pd.DataFrame:
    paths = sorted((run / "predictions").iterdir())
    tables = [
        pd.read_csv(path).assign(slide_id=path.stem, patient_id=path.stem[:3]) for path in paths
    ]
    return pd.concat(tables)


def pooled_shares(run: Path) -> pd.Series:
    """By hand: how many of the tiles of a patient the linear head calls pos."""
    tables = [
        pd.read_csv(path).assign(patient_id=path.stem[:3])
        for path in sorted((run / "reference").iterdir())
    ]
    table = pd.concat(tables)
    return (table["pooled_pos"] > table["pooled_neg"]).groupby(table["patient_id"]).mean()


def test_the_bag_is_the_patient_and_its_tiles_share_its_probability(finished: Path) -> None:
    tiles = predictions(finished)
    patients = pd.read_csv(finished / "patients.csv").set_index("patient_id")

    bags = tiles.groupby("patient_id")
    np.testing.assert_allclose(bags["attention"].sum(), 1, atol=1e-5)
    assert (bags["prob_pos"].nunique() == 1).all()
    assert tiles.groupby("patient_id")["slide_id"].nunique().max() == 2
    np.testing.assert_allclose(
        bags["prob_pos"].first(), patients["prob_pos"].reindex(bags.groups), atol=1e-5
    )


def test_figures_stand_beside_mean_pooling_and_are_evaluated_again(finished: Path) -> None:
    run = hk.open_run(finished)
    level = run.metrics["splits"]["test"]["patient"]

    # One probability a patient: neither a mean nor a share of tiles.
    assert list(level["aggregations"]) == ["probability"]
    assert level["aggregations"]["probability"]["auc"]["value"] > 0.9
    assert level["calibration"]["before"]["brier"]["value"] > 0
    assert level["baselines"]["pooled"]["title"] == "linear head, mean over tiles"
    shares = pooled_shares(finished)
    patients = run.patients[run.patients["split"] == "test"]
    auc = level["baselines"]["pooled-share"]["auc"]["value"]
    truth = patients["label"] == "pos"
    assert auc == pytest.approx(roc_auc_score(truth, shares.reindex(patients["patient_id"])))
    assert not [name for name in run.patients if name.startswith("share_")]
    saved = open_saved(finished).collect().patients
    assert saved["prob_pos"].tolist() == pytest.approx(run.patients["prob_pos"].tolist(), abs=1e-6)
    text = write_report(finished).read_text(encoding="utf-8")
    assert "gated attention over all tiles" in text
    assert "Each patient got one probability as a whole." in text


def test_the_page_shows_what_weighs_most(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "pictures").mkdir(exist_ok=True)
    rows = []
    for number, weight in enumerate((0.2, 0.7)):
        Image.new("RGB", (8, 8)).save(run / "pictures" / f"{number}.jpg")
        rows.append({"file": f"pictures/{number}.jpg", "slide_id": "P01_0", "label": "pos",
                     "predicted": "pos", "prob": 0.9, "attention": weight,
                     "why": "right"})  # fmt: skip
    pd.DataFrame(rows).to_csv(run / "pictures.csv", index=False)

    text = write_report(run).read_text(encoding="utf-8")

    assert "What weighs most where the run is right and wrong" in text
    assert text.index("weighs 70.0%") < text.index("weighs 20.0%")
    assert "slide&#39;s label" not in text


def test_tiles_of_a_bag_are_shown_by_their_weight() -> None:
    names = [f"t{number}" for number in range(30)]
    weights = np.random.default_rng(0).permutation(30) / 30
    tiles = pd.DataFrame({"tile": names, "slide_id": "s", "patient_id": "p", "label": "pos",
                          "predicted": "pos", "prob": 0.9, "attention": weights})  # fmt: skip

    shown = pictures._chosen(tiles, 0)[1]

    assert shown["why"].unique() == ["right"]
    assert shown["attention"].tolist() == sorted(weights, reverse=True)[:8]


def test_predict_says_the_same_of_the_same_tiles(
    finished: Path, cohort_folder: Path, tmp_path: Path
) -> None:
    whose = pd.read_csv(cohort_folder / "slides.csv").set_index("slide_id")["patient_id"].to_dict()
    options = {"memory_gb": 4.0, "config": {}, "run_folder": finished}

    write_predicted(open_run(finished), cohort_folder, tmp_path, slide_patients=whose, **options)

    ours, again = predictions(finished), predictions(tmp_path)
    for name in ("prob_pos", "attention"):
        np.testing.assert_allclose(again[name], ours[name], rtol=1e-5)
    # Where patients are not known, a slide is a bag of its own; streamed or not is the same.
    index = index_features(cohort_folder)
    alone, _ = predict_index(open_run(finished), index)
    sums = pd.Series(alone.attention[:, 0]).groupby(alone.rows.file).sum()
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    streamed, _ = predict_index(open_run(finished), index, memory_gb=1e-9)
    np.testing.assert_array_equal(streamed.probabilities, alone.probabilities)
    features = hk.read_features(cohort_folder / "features" / "P00_0.h5")
    table = hk.open_run(finished).predict_proba(features)
    assert table["attention"].sum() == pytest.approx(1, abs=1e-5)


def test_folds_give_every_patient_the_attention_of_its_own_test(cohort_folder: Path) -> None:
    run = hk.fit_head(cohort_folder, cohort_folder / "labels.csv",
                      slide_table=cohort_folder / "slides.csv", head="mil", folds=3,
                      epochs=2)  # fmt: skip

    sums = predictions(run.folder).groupby("patient_id")["attention"].sum()

    assert len(sums) == 24
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_what_bags_cannot_learn_is_refused(
    finished: Path, cohort_folder: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "tiles.csv"
    labels.write_text("tile,label\na.png,neg\nb.png,pos\n")
    with pytest.raises(TableError, match="labels stand at the tile"):
        prepare_study(job_of(cohort_folder, labels=labels))
    with pytest.raises(ConfigError, match="learns classes, and no number"):
        job_of(cohort_folder, task="regression")
    with pytest.raises(ConfigError, match="judges a slide or patient as a whole"):
        open_classifier(finished)
