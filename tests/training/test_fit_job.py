import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.calibration import temperature_scaled
from histokeras.analysis.saved import figures, open_saved, relabelled
from histokeras.analysis.units import EvaluationConfig
from histokeras.cohort.split import split_patients, write_split
from histokeras.cohort.split_file import read_split
from histokeras.errors import ConfigError, FeatureError, LeakageError, TableError
from histokeras.features.index import index_features
from histokeras.features.store import read_features, write_features
from histokeras.files import safe_name
from histokeras.models.model_file import read_head
from histokeras.report.page import write_report
from histokeras.training.fit import fit_head
from histokeras.training.fit_job import FitJob, prepare_study
from histokeras.training.fit_run import OUTPUTS, run_fit
from histokeras.training.head import HeadConfig
from histokeras.training.loop import FitConfig
from histokeras.training.predict_job import predict_index, write_predicted
from histokeras.training.trained_run import open_run
from tests.training.conftest import write_cohort

QUICK = HeadConfig(head="linear", fit=FitConfig(epochs=15, learning_rate=0.05, patience=4))


def job_of(folder: Path, **changes: object) -> FitJob:
    known = {"features": folder, "labels": folder / "labels.csv",
             "slide_table": folder / "slides.csv", "head": QUICK, "n_resamples": 200}  # fmt: skip
    return FitJob(**{**known, **changes})


def run(job: FitJob, out: Path, **options: object) -> dict | None:
    result = run_fit(job, prepare_study(job), out, config={"labels": job.labels}, **options)
    return None if result is None else result.metrics


@pytest.fixture(scope="module")
def finished(cohort_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(job_of(cohort_folder, positive="pos"), out)
    return out


def test_a_run_writes_everything_and_finds_the_signal(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    # The report is drawn by those who call this, from these files.
    assert names == {*OUTPUTS, "run.json", "failures.csv"} - {"folds", "report", "report.html"}
    metrics = json.loads((finished / "metrics.json").read_text())
    level = metrics["splits"]["test"]["patient"]
    assert metrics["label_level"] == "patient"
    assert level["n"] == len(read_split(finished / "split.csv").table.query("split == 'test'"))
    assert level["aggregations"]["mean_probability"]["auc"]["value"] > 0.9
    record = json.loads((finished / "run.json").read_text())
    assert record["status"] == "done"
    assert list(record["funnel"].values()) == [24] * 5
    assert record["config"]["labels"] == "labels.csv"


def test_patients_stay_on_one_side_with_all_their_slides(finished: Path) -> None:
    slides = pd.read_csv(finished / "slides.csv")
    assert len(slides) == 36
    assert (slides.groupby("patient_id")["split"].nunique() == 1).all()
    split = dict(read_split(finished / "split.csv").table.itertuples(index=False))
    assert (slides["patient_id"].map(split) == slides["split"]).all()


def test_tables_agree_with_the_tiles(finished: Path) -> None:
    tiles = pd.read_csv(finished / "predictions/P01_0.csv")
    assert list(tiles.columns) == ["minx", "miny", "width", "height", "prob_neg", "prob_pos"]
    assert tiles["minx"].tolist() == [i * 224 for i in range(7)]
    assert set(tiles["width"]) == {224}
    other = pd.read_csv(finished / "predictions/P01_1.csv")
    patient = pd.read_csv(finished / "patients.csv").set_index("patient_id").loc["P01"]
    pooled = np.concatenate([tiles["prob_pos"], other["prob_pos"]])
    assert patient["prob_pos"] == pytest.approx(pooled.mean(), abs=1e-6)
    assert patient["share_pos"] == pytest.approx((pooled > 0.5).mean())
    assert patient["n_tiles"] == len(pooled)


def test_the_saved_head_gives_the_same_probabilities(finished: Path, cohort_folder: Path) -> None:
    trained = open_run(finished)
    assert trained.classes == ("neg", "pos")
    assert trained.card["positive"] == "pos"
    model, _ = read_head(finished / "head")
    assert model.output_shape == (None, 2)

    predicted, predictions = predict_index(trained, index_features(cohort_folder))

    tables = {predicted.rows.units["slide_id"].iloc[file]: t for file, t in predicted.tables()}
    tiles = pd.read_csv(finished / "predictions/P01_0.csv")
    np.testing.assert_allclose(tables["P01_0"]["prob_pos"], tiles["prob_pos"], rtol=1e-6)
    assert len(predictions.patients) == 0


def test_evaluating_the_saved_run_gives_its_own_figures(finished: Path) -> None:
    saved = open_saved(finished)
    predictions = saved.collect()
    config = EvaluationConfig(n_resamples=200, splits=("test", "val"))

    again = figures(
        predictions, saved.level, positive=saved.positive, note=saved.note, config=config
    )

    written = json.loads((finished / "metrics.json").read_text())
    # It needs the features, and stays with the run.
    del written["site_probe"]
    assert again == written


def test_the_same_run_again_does_nothing_and_another_is_refused(
    finished: Path, cohort_folder: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    same = job_of(cohort_folder, positive="pos")
    other = dataclasses.replace(same, shares=(50, 25, 25))

    assert run(same, out) is None
    with pytest.raises(FeatureError, match="holds another run"):
        run(other, out)
    assert run(other, out, overwrite=True) is not None
    assert open_run(out).card["split_sha256"] != open_run(finished).card["split_sha256"]


@pytest.mark.parametrize("lost", ["head", "predictions", "curves.json", "metrics.json"])
def test_what_a_finished_run_has_lost_is_made_again(
    finished: Path, cohort_folder: Path, tmp_path: Path, lost: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    job = job_of(cohort_folder, positive="pos")
    assert run(job, out) is None
    if lost == "metrics.json":
        (out / lost).write_text('{"a')
    elif (out / lost).is_dir():
        shutil.rmtree(out / lost)
    else:
        (out / lost).unlink()

    assert run(job, out) is not None
    assert (out / lost).exists()
    assert run(job, out) is None


def test_the_same_seed_gives_the_same_figures(cohort_folder: Path, tmp_path: Path) -> None:
    job = job_of(cohort_folder)

    assert run(job, tmp_path / "a") == run(job, tmp_path / "b")
    a, b = (tmp_path / n / "head/weights.safetensors" for n in "ab")
    assert a.read_bytes() == b.read_bytes()


def test_streaming_learns_the_same_task(cohort_folder: Path, tmp_path: Path) -> None:
    metrics = run(job_of(cohort_folder, memory_gb=1e-6), tmp_path)

    assert metrics is not None
    level = metrics["splits"]["test"]["patient"]
    assert level["aggregations"]["mean_probability"]["auc"]["value"] > 0.9


def test_cross_validation_tests_every_patient_once(cohort_folder: Path, tmp_path: Path) -> None:
    metrics = run(job_of(cohort_folder, folds=3, stratify=("site",)), tmp_path)

    assert metrics is not None
    assert list(metrics["splits"]) == ["test"]
    assert metrics["splits"]["test"]["patient"]["n"] == 24
    assert len(pd.read_csv(tmp_path / "patients.csv")) == 24
    assert sorted(path.name for path in (tmp_path / "folds").iterdir()) == ["0", "1", "2"]
    split = read_split(tmp_path / "split.csv")
    level = metrics["splits"]["test"]["patient"]
    assert [row["n"] for row in level["folds"]] == [8, 8, 8]
    majority = level["baselines"]["majority"]["auc"]
    # The class of the majority may differ from fold to fold, and still ranks nobody.
    assert (majority["value"], majority["low"], majority["high"]) == (0.5, 0.5, 0.5)
    patients = pd.read_csv(tmp_path / "patients.csv").set_index("patient_id")
    assert patients["fold"].to_dict() == dict(split.table.itertuples(index=False))
    heads = [read_head(tmp_path / f"folds/{i}/head") for i in range(3)]
    fold = dict(split.table.itertuples(index=False))["P01"]
    index = index_features(cohort_folder)
    trained = open_run(tmp_path)
    assert len(trained.folders) == 3
    tiles = pd.read_csv(tmp_path / "predictions/P01_0.csv")
    position = index.names.index("P01_0")
    vectors = read_features(index.paths[position]).vectors
    head, card = heads[fold]
    own = temperature_scaled(np.asarray(head(vectors, training=False)), card["temperature"])
    np.testing.assert_allclose(tiles["prob_pos"], own[:, 1], rtol=1e-5)


def test_nothing_of_an_earlier_run_is_taken_for_a_part_of_this_one(
    cohort_folder: Path, tmp_path: Path
) -> None:
    run(job_of(cohort_folder, folds=4), tmp_path)
    run(job_of(cohort_folder, folds=3), tmp_path, overwrite=True)
    assert len(open_run(tmp_path).folders) == 3

    run(job_of(cohort_folder), tmp_path, overwrite=True)

    assert [path.parent for path in open_run(tmp_path).folders] == [tmp_path]
    (tmp_path / "metrics.json").unlink()
    with pytest.raises(FeatureError, match="not finished"):
        open_run(tmp_path)


def test_slides_with_long_names_are_evaluated_too(tmp_path: Path) -> None:
    folder = write_cohort(tmp_path / "c", 12)
    names = {}
    for path in sorted((folder / "features").iterdir()):
        features = read_features(path)
        names[path.stem] = name = path.stem + "漢" * 30
        provenance = {**features.provenance, "slide_id": name}
        path.unlink()
        renamed = dataclasses.replace(features, provenance=provenance)
        write_features(folder / "features" / f"{safe_name(name)}.h5", renamed)
    slides = pd.read_csv(folder / "slides.csv")
    slides.assign(slide_id=slides["slide_id"].map(names)).to_csv(folder / "slides.csv", index=False)
    run(job_of(folder, folds=3), tmp_path / "run")

    saved = open_saved(tmp_path / "run")

    assert sum(1 for _ in saved.tables()) == len(names) == 18
    (tmp_path / "run/predictions" / f"{safe_name(names['P00_0'])}.csv").unlink()
    with pytest.raises(TableError, match="is missing"):
        list(saved.tables())


def test_patients_of_the_training_are_left_out_of_an_evaluation(
    finished: Path, cohort_folder: Path, tmp_path: Path
) -> None:
    trained = open_run(finished)
    write_predicted(
        trained, cohort_folder, tmp_path, slide_patients={}, memory_gb=1, config={},
        run_folder=finished,
    )  # fmt: skip
    split = read_split(finished / "split.csv")
    tests = {name for name, side in split.sides().items() if side == "test"}
    patients = {f"{p}_{i}": p for p in split.table["patient_id"] for i in (0, 1)}
    options = {"target": "label", "slide_patients": patients}

    predictions, _, joined = relabelled(
        open_saved(tmp_path), cohort_folder / "labels.csv", **options
    )

    assert set(predictions.patients["patient_id"]) == tests
    assert joined.funnel["used"] == len(tests)
    assert set(joined.dropped["reason"]) == {"in the training data of the run"}
    labels = pd.read_csv(cohort_folder / "labels.csv")
    labels[~labels["patient_id"].isin(tests)].to_csv(tmp_path / "seen.csv", index=False)
    with pytest.raises(LeakageError, match="trained on"):
        relabelled(open_saved(tmp_path), tmp_path / "seen.csv", **options)


def test_a_run_given_labels_keeps_its_sides(finished: Path, cohort_folder: Path) -> None:
    predictions, _, _ = relabelled(
        open_saved(finished), cohort_folder / "labels.csv", target="label"
    )

    sides = read_split(finished / "split.csv").sides()
    table = predictions.patients.set_index("patient_id")["split"]
    assert table.to_dict() == sides


def test_a_leaking_split_is_refused(cohort_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("patient_id,split\nP00,train\nP00,test\nP01,val\n")

    with pytest.raises(LeakageError, match="P00"):
        prepare_study(job_of(cohort_folder, split=tmp_path / "split.csv"))


def test_a_slide_split_that_parts_a_patient_is_refused(cohort_folder: Path, tmp_path: Path) -> None:
    slides = pd.read_csv(cohort_folder / "slides.csv")
    sides = ["train", "val", "test"]
    table = slides.assign(split=[sides[i % 3] for i in range(len(slides))])
    table[["slide_id", "split"]].to_csv(tmp_path / "split.csv", index=False)

    with pytest.raises(LeakageError, match="two sides"):
        prepare_study(job_of(cohort_folder, split=tmp_path / "split.csv"))


def test_slides_without_patients_are_refused_unless_accepted(
    cohort_folder: Path, tmp_path: Path
) -> None:
    slides = pd.read_csv(cohort_folder / "slides.csv")
    labels = slides.assign(label=["ab"[int(name[1:3]) % 2] for name in slides["slide_id"]])
    labels[["slide_id", "label"]].to_csv(tmp_path / "labels.csv", index=False)
    job = job_of(cohort_folder, labels=tmp_path / "labels.csv", slide_table=None)

    with pytest.raises(TableError) as caught:
        prepare_study(job)
    assert caught.value.code == "PATIENT_UNKNOWN"

    metrics = run(dataclasses.replace(job, patients_unknown=True), tmp_path / "run")
    assert metrics is not None
    assert "not patient-safe" in metrics["note"]
    assert metrics["patient_safe"] is False
    assert not metrics["splits"]["test"]["patient"]["evaluated"]
    assert "not patient-safe" in json.loads((tmp_path / "run/run.json").read_text())["note"]
    assert "not patient-safe" in json.loads((tmp_path / "run/head/model.json").read_text())["note"]


def test_a_split_of_slides_is_refused_where_patients_are_wanted(
    cohort_folder: Path, tmp_path: Path
) -> None:
    slides = pd.read_csv(cohort_folder / "slides.csv").drop(columns="patient_id")
    made = split_patients(slides, patients_unknown=True)
    write_split(tmp_path / "split.csv", made)

    with pytest.raises(ConfigError, match="not patient-safe"):
        prepare_study(job_of(cohort_folder, split=tmp_path / "split.csv"))


def test_what_is_lost_on_the_way_is_counted_and_listed(tmp_path: Path) -> None:
    folder = write_cohort(tmp_path / "c", 12)
    labels = pd.read_csv(folder / "labels.csv")
    labels.loc[0, "label"] = ""
    extra = pd.DataFrame([{"patient_id": "P99", "label": "pos", "site": "S0"}])
    pd.concat([labels, extra]).to_csv(folder / "labels.csv", index=False)

    study = prepare_study(job_of(folder, shares=(60, 40, 0)))

    assert list(study.joined.funnel.values()) == [13, 12, 11, 11, 11]
    assert {"P99", "P00_0"} <= set(study.dropped["id"])


def test_features_of_another_network_are_refused_at_prediction(
    finished: Path, cohort_folder: Path
) -> None:
    index = index_features(cohort_folder)
    other = dataclasses.replace(index, settings={**index.settings, "weights_sha256": "x" * 8})

    with pytest.raises(FeatureError, match="weights_sha256"):
        predict_index(open_run(finished), other)


def test_the_python_api_fits_from_memory(cohort_folder: Path, tmp_path: Path) -> None:
    sets = [read_features(path) for path in index_features(cohort_folder).paths]
    labels = pd.DataFrame(
        {"slide_id": [s.slide_id for s in sets],
         "patient_id": [s.slide_id[:3] for s in sets],
         "label": [("neg", "pos")[int(s.slide_id[1:3]) % 2] for s in sets]}
    )  # fmt: skip

    fitted = fit_head(sets, labels, target="label", head="linear", epochs=15, learning_rate=0.05)

    assert fitted.classes == ("neg", "pos")
    assert fitted.metrics["label_level"] == "slide"
    assert "AUC" in str(fitted)
    tiles = fitted.predict_proba(sets[0])
    np.testing.assert_allclose(tiles[["prob_neg", "prob_pos"]].sum(axis=1), 1, rtol=1e-5)
    assert len(fitted.history) <= 15
    page = write_report(fitted, tmp_path / "page.html")
    assert "Verdict" in page.read_text(encoding="utf-8")
    kept = fitted.save(tmp_path / "kept")
    assert open_run(kept).classes == fitted.classes
    assert (kept / "metrics.json").read_bytes() == (fitted.folder / "metrics.json").read_bytes()
    with pytest.raises(ConfigError, match="is not an empty folder"):
        fitted.save(tmp_path / "kept")
    other = dataclasses.replace(sets[0], provenance={})
    with pytest.raises(FeatureError, match="other settings"):
        fitted.predict_proba(other)
    with pytest.raises(TableError, match="two of the features"):
        fit_head([sets[0], sets[0]], labels)
    with pytest.raises(ConfigError, match="FeatureSets of several slides"):
        fit_head(["no features"], labels)
