import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import histokeras as hk
from histokeras.analysis.evaluation import evaluate_saved, write_evaluation
from histokeras.analysis.saved import open_saved
from histokeras.analysis.units import EvaluationConfig
from histokeras.cohort.split import read_split
from histokeras.errors import ConfigError, FeatureError, TableError
from histokeras.features.index import index_features
from histokeras.features.store import read_features
from histokeras.models.heads import build_number_head
from histokeras.models.model_file import read_head, write_head
from histokeras.report.comparison import write_comparison
from histokeras.report.page import write_report
from histokeras.training.fit_job import FitJob, prepare_study
from histokeras.training.fit_run import run_fit
from histokeras.training.head import HeadConfig, Labelled
from histokeras.training.loop import FitConfig
from histokeras.training.number_head import fit_number
from histokeras.training.predict_job import predict_index, write_predicted
from histokeras.training.trained_run import open_run
from histokeras.training.vectors import MemoryVectors

FIT = FitConfig(epochs=25, learning_rate=0.05, patience=6)
QUICK = HeadConfig(head="linear", fit=FIT)


def scored(cohort_folder: Path, folder: Path) -> Path:
    """The label table with a score that tissue shows, around 1000, and one that it does not."""
    table = pd.read_csv(cohort_folder / "labels.csv")
    rng = np.random.default_rng(0)
    score = 1000 + 20 * (table["label"] == "pos") + rng.normal(0, 3, len(table))
    table["score"] = score.round().astype(int)
    table["noise"] = rng.normal(size=len(table))
    table.to_csv(folder / "scores.csv", index=False)
    return folder / "scores.csv"


def job_of(cohort_folder: Path, labels: Path, **changes: object) -> FitJob:
    known = {"features": cohort_folder, "labels": labels, "target": "score", "head": QUICK,
             "slide_table": cohort_folder / "slides.csv", "n_resamples": 200,
             "task": "regression", "shares": (50, 25, 25)}  # fmt: skip
    return FitJob(**{**known, **changes})


@pytest.fixture(scope="module")
def labels(cohort_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scored(cohort_folder, tmp_path_factory.mktemp("scores"))


@pytest.fixture(scope="module")
def finished(cohort_folder: Path, labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "score"
    job = job_of(cohort_folder, labels)
    assert run_fit(job, prepare_study(job), out, config={"target": "score"}) is not None
    # The very same again is known, and does nothing.
    assert run_fit(job, prepare_study(job), out, config={}) is None
    return out


def test_a_run_finds_the_score_in_its_own_unit(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    level = metrics["splits"]["test"]["patient"]
    own = level["aggregations"]["mean_prediction"]

    assert (metrics["task"], metrics["target"], level["n"]) == ("regression", "score", 6)
    assert own["mae"]["value"] < 6 < level["baselines"]["mean"]["mae"]["value"]
    assert own["r2"]["value"] > 0.6
    assert set(level["baselines"]) == {"mean", "colour", "floor", "site"}
    patients = pd.read_csv(finished / "patients.csv")
    assert patients["pred_score"].between(980, 1040).all()
    assert not {"predicted", "share_score"} & set(patients)
    card = json.loads((finished / "head/model.json").read_text())
    assert (card["task"], card["classes"], card["target"]) == ("regression", [], "score")
    split = read_split(finished / "split.csv").sides()
    train = patients[patients["patient_id"].map(split) == "train"]["label"]
    # Each patient counts once, whatever the number of tiles.
    assert card["target_mean"] == pytest.approx(train.mean())
    assert card["target_scale"] == pytest.approx(train.std(ddof=0))
    mean = pd.read_csv(finished / "reference/P01_0.csv")["mean_score"]
    assert mean.to_numpy() == pytest.approx(train.mean(), rel=1e-6)
    record = json.loads((finished / "run.json").read_text())
    assert "temperature" not in record
    assert "class_weight" not in record["head"]
    assert not {"temperature", "class_weight"} & set(card)


def test_predict_and_evaluate_give_the_same_numbers(
    finished: Path, cohort_folder: Path, labels: Path, tmp_path: Path
) -> None:
    run = open_run(finished)
    assert (run.task, run.outputs, run.classes) == ("regression", ("score",), ())
    write_predicted(run, cohort_folder, tmp_path / "p", slide_patients={}, memory_gb=4.0,
                    config={}, run_folder=finished)  # fmt: skip

    tiles = pd.read_csv(tmp_path / "p/predictions/P01_0.csv")
    known = pd.read_csv(finished / "predictions/P01_0.csv")
    assert list(tiles) == ["minx", "miny", "width", "height", "pred_score"]
    np.testing.assert_allclose(tiles["pred_score"], known["pred_score"], rtol=1e-6)

    # The run's own figures, from its files; then those of an external table, which leaves out
    # whom the run was trained on.
    config = EvaluationConfig(n_resamples=200)
    own = evaluate_saved(open_saved(finished), None, None, config=config)
    written = json.loads((finished / "metrics.json").read_text())
    assert own.metrics["splits"]["test"] == written["splits"]["test"]
    patients = {path.stem: path.stem[:3] for path in (cohort_folder / "features").iterdir()}
    found = evaluate_saved(
        open_saved(tmp_path / "p"), labels, tmp_path / "e", target="score",
        slide_patients=patients, config=config,
    )  # fmt: skip
    level = found.metrics["splits"]["all"]["patient"]
    again = written["splits"]["test"]["patient"]["aggregations"]["mean_prediction"]
    assert level["n"] == 6
    assert level["aggregations"]["mean_prediction"]["mae"]["value"] == pytest.approx(
        again["mae"]["value"], rel=1e-5
    )
    write_evaluation(tmp_path / "e", found, config={})
    page = write_report(tmp_path / "e").read_text()
    assert "between predicted and true score" in page
    with pytest.raises(TableError, match="regression needs a finite number"):
        evaluate_saved(open_saved(tmp_path / "p"), labels, None, target="label")


def test_streamed_vectors_and_folds_and_a_target_without_relation(
    cohort_folder: Path, labels: Path, tmp_path: Path
) -> None:
    job = job_of(cohort_folder, labels, target="noise", folds=3, memory_gb=1e-6)

    result = run_fit(job, prepare_study(job), tmp_path / "run", config={"target": "noise"})

    assert result is not None
    level = result.metrics["splits"]["test"]["patient"]
    assert (level["n"], len(level["folds"])) == (24, 3)
    assert level["verdict"]["beaten"] is False
    assert level["aggregations"]["mean_prediction"]["spearman"]["low"] < 0
    predicted, _ = predict_index(open_run(tmp_path / "run"), index_features(cohort_folder))
    assert predicted.columns == ["pred_noise"]
    assert "No relation to noise is shown" in write_report(tmp_path / "run").read_text()


def test_the_page_shows_the_score_and_nothing_of_classes(finished: Path) -> None:
    page = write_report(finished).read_text()

    for word in ("Predicted and true", "limits of agreement", "Mean absolute error",
                 "mean of the training patients", "The target, score, is a number",
                 "stratified by quantiles of score", "squared error of the standardised target",
                 "Only 6 patients were tested", "Lowest and highest tiles"):  # fmt: skip
        assert word in page
    tested = pd.read_csv(finished / "patients.csv").query("split == 'test'")["label"]
    assert f"<td>{tested.min()}</td><td>{tested.max()}</td>" in page
    # The site has an AUC, the number has none.
    before, _, rest = page.partition('<section id="sites">')
    page = before + rest.partition("</section>")[2]
    for word in ("softmax", "AUC", "emperature", "Confusion", "class_weight", "Tiles by class"):
        assert word not in page
    data = pd.read_csv(finished / "report/scatter.csv")
    patients = pd.read_csv(finished / "patients.csv").query("split == 'test'")
    np.testing.assert_allclose(data["predicted"], patients["pred_score"])
    np.testing.assert_allclose(data["true"], patients["label"])


def test_python_fits_predicts_and_speaks(cohort_folder: Path, labels: Path) -> None:
    sets = [read_features(p) for p in sorted((cohort_folder / "features").glob("*.h5"))]
    table = pd.read_csv(labels)
    slides = pd.DataFrame({"slide_id": [item.slide_id for item in sets]})
    slides["patient_id"] = slides["slide_id"].str[:3]
    slides = slides.merge(table[["patient_id", "score", "label"]])

    run = hk.fit_head(sets, slides, target="score", task="regression", epochs=15,
                      learning_rate=0.05)  # fmt: skip

    assert repr(run) == "FittedRun(1 head, regression of score; print it for its figures)"
    assert "Spearman" in str(run)
    assert run.predict(sets[0])["pred_score"].between(960, 1060).all()
    with pytest.raises(ConfigError, match="predicts a number, `score`"):
        run.predict_proba(sets[0])
    with pytest.raises(ConfigError, match="regression has none"):
        hk.fit_head(sets, slides, target="score", task="regression", positive="1")
    with pytest.raises(ConfigError, match="`task` must be one of classification, regression"):
        hk.fit_head(sets, slides, target="score", task="rank")


def test_runs_of_numbers_are_compared_with_their_like(
    finished: Path, tmp_path: Path, cohort_folder: Path
) -> None:
    job = FitJob(features=cohort_folder, labels=cohort_folder / "labels.csv", head=QUICK,
                 slide_table=cohort_folder / "slides.csv", n_resamples=100)  # fmt: skip
    run_fit(job, prepare_study(job), tmp_path / "classes", config={})

    copy = shutil.copytree(finished, tmp_path / "copy")
    page = write_comparison([finished, copy], tmp_path / "c.html").read_text()

    assert "Spearman of each run" in page
    assert "Spearman of colour and texture" in page
    assert "AUC" not in page
    with pytest.raises(ConfigError, match=r"runs of numbers \(score\) and runs of classes"):
        write_comparison([finished, tmp_path / "classes"], tmp_path / "d.html")


def labelled(n: int, seed: int) -> Labelled:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 4)).astype(np.float32)
    targets = 500 + 30 * vectors[:, 1] + rng.normal(size=n)
    return Labelled(MemoryVectors(vectors), targets, np.ones(n, np.float32))


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_every_head_learns_a_number_and_survives_saving(head: str, tmp_path: Path) -> None:
    train, val = labelled(400, 0), labelled(100, 1)

    fitted = fit_number(train, val, "score", HeadConfig(head=head, fit=FIT))

    predicted = fitted.predict(val.vectors)[:, 0]
    assert np.corrcoef(predicted, val.targets)[0, 1] > 0.95
    assert np.abs(predicted - val.targets).mean() < 10
    assert list(fitted.history.columns) == ["epoch", "loss", "val_loss", "val_spearman", "val_mae",
                                            "best"]  # fmt: skip
    kept = fitted.history[fitted.history["best"]]
    assert kept["val_loss"].item() == fitted.history["val_loss"].min()
    assert kept["val_mae"].item() == pytest.approx(np.abs(predicted - val.targets).mean(), rel=1e-3)
    card = {"head": head, "n_features": 4, "task": "regression", "classes": [], "target": "score"}
    write_head(tmp_path, fitted.model, {**card, **fitted.facts()})
    model, read = read_head(tmp_path)
    loaded = type(fitted).of_card(model, read)
    np.testing.assert_array_equal(loaded.predict(val.vectors)[:, 0], predicted)
    write_head(tmp_path, fitted.model, card)
    with pytest.raises(FeatureError, match=r"lacks \['target_mean', 'target_scale'\]"):
        read_head(tmp_path)


def test_weights_count_and_nothing_to_learn_is_refused() -> None:
    train, val = labelled(60, 0), labelled(20, 1)
    weights = np.where(np.arange(60) < 10, 5.0, 1.0).astype(np.float32)

    config = HeadConfig(fit=FitConfig(epochs=1))
    fitted = fit_number(Labelled(train.vectors, train.targets, weights), val, "s", config)

    assert fitted.mean == pytest.approx(np.average(train.targets, weights=weights))
    with pytest.raises(TableError, match="no two different numbers in train"):
        fit_number(Labelled(train.vectors, np.full(60, 0.1)), val, "s", config)
    with pytest.raises(ConfigError, match="`head` must be one of"):
        build_number_head("deep", 4)
