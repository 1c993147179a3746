import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from histokeras.cohort.sites import known_sites
from histokeras.errors import ConfigError, TableError
from histokeras.features.index import index_features
from histokeras.features.store import FeatureSet, read_features, write_features
from histokeras.report.page import write_report
from histokeras.training.fit_job import FitJob, prepare_study
from histokeras.training.fit_run import run_fit
from histokeras.training.fit_study import rows_of
from histokeras.training.head import HeadConfig
from histokeras.training.loop import FitConfig
from histokeras.training.patient_features import patient_means
from histokeras.training.site_probe import probe_study
from tests.training.conftest import write_cohort

N_PATIENTS = 36


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of nine sites of four patients; vectors shifted by their first three, S0 to S2."""
    folder = write_cohort(tmp_path_factory.mktemp("sites"), N_PATIENTS, with_extras=False)
    for path in sorted((folder / "features").iterdir()):
        features = read_features(path)
        vectors = features.vectors.copy()
        vectors[:, 5 + int(path.stem[1:3]) % 3] += 3.0
        changed: FeatureSet = dataclasses.replace(features, vectors=vectors)
        write_features(path, changed)
    table = pd.read_csv(folder / "labels.csv")
    table["center"] = [f" Clinic {i % 9}" for i in range(len(table))]
    table.drop(columns="site").to_csv(folder / "clinics.csv", index=False)
    table[["patient_id", "label"]].to_csv(folder / "bare.csv", index=False)
    return folder


def job_of(folder: Path, labels: str = "labels.csv", **changes: object) -> FitJob:
    fit = FitConfig(epochs=3, learning_rate=0.05, patience=2)
    known = {"features": folder, "labels": folder / labels, "slide_table": folder / "slides.csv",
             "head": HeadConfig(head="linear", fit=fit), "n_resamples": 50}  # fmt: skip
    return FitJob(**{**known, **changes})


def probe(job: FitJob) -> dict | None:
    study = prepare_study(job)
    number = 0 if study.split.folds else None
    return probe_study(study, rows_of(study, number), n_resamples=50, seed=0)


def test_the_planted_site_is_told_and_goes_into_metrics_and_page(
    cohort: Path, tmp_path: Path
) -> None:
    job = job_of(cohort)
    run_fit(job, prepare_study(job), tmp_path, config={})
    found = json.loads((tmp_path / "metrics.json").read_text())["site_probe"]
    assert found["auc"]["value"] > 0.95
    assert (found["n_patients"], found["n_sites"], found["from"]) == (N_PATIENTS, 3, "site")
    assert not found["preserved"]
    page = write_report(tmp_path).read_text()
    assert "Do the features tell the site?" in page
    assert "the label may be learnt through the site" in page


def test_patient_means_are_those_of_all_tiles(cohort: Path) -> None:
    study = prepare_study(job_of(cohort))
    index = index_features(cohort)
    patients, means = patient_means(index, rows_of(study, None))
    own = [read_features(cohort / f"features/P01_{i}.h5").vectors for i in range(2)]
    expected = np.concatenate(own).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(means[patients.index("P01")], expected, rtol=1e-6)


def test_folds_keep_sites_whole_and_the_run_says_so(cohort: Path, tmp_path: Path) -> None:
    job = job_of(cohort, "clinics.csv", folds=3, preserve_site=True)
    study = prepare_study(job)
    clinic = known_sites(study.cohort, study.joined)
    assert clinic.source == "center"
    assert clinic.of_group["P01"] == "Clinic 1"
    folds = study.split.table.assign(
        site=[clinic.of_group[patient] for patient in study.split.table["patient_id"]]
    )
    assert (folds.groupby("site")["fold"].nunique() == 1).all()
    assert folds["fold"].nunique() == 3
    assert study.split.sites is not None
    # Nine clinics of four patients: three each.
    assert study.split.sites["n_sites"] == 9
    run_fit(job, study, tmp_path, config={})
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["split"]["sites"]["from"] == "center"
    page = write_report(tmp_path).read_text()
    assert "none of the 9 sites in two of them" in page
    # Four patients a clinic are too few to be probed.
    assert "two sites of at least 5 patients" in page


def test_no_site_no_probe_and_unknown_patients_no_claim(cohort: Path) -> None:
    assert probe(job_of(cohort, "bare.csv")) is None
    table = pd.read_csv(cohort / "slides.csv")
    table["label"] = ["ab"[i % 2] for i in range(len(table))]
    table["site"] = ["XY"[i // 2 % 2] for i in range(len(table))]
    table.drop(columns="patient_id").to_csv(cohort / "slide_labels.csv", index=False)
    unknown = job_of(cohort, "slide_labels.csv", slide_table=None, patients_unknown=True)
    found = probe(unknown)
    assert found is not None
    assert found["reason"] == "the patients of slides or tiles are not known"


@pytest.mark.parametrize(
    "options", [{}, {"split": Path("s.csv")}, {"folds": 3, "stratify": ("site",)}]
)
def test_options_that_do_not_go_with_whole_sites_are_refused(
    cohort: Path, options: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match="give `--cv K` and no"):
        job_of(cohort, preserve_site=True, **options)


def test_whole_sites_need_a_site_of_every_patient(cohort: Path) -> None:
    with pytest.raises(TableError, match=r"needs one site a patient \(barcode\)") as caught:
        prepare_study(job_of(cohort, "bare.csv", folds=3, preserve_site=True))
    assert caught.value.code == "SITE_UNKNOWN"
