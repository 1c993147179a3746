from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import histokeras as hk
from histokeras.errors import ConfigError
from tests.training.conftest import write_cohort


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("saved"))


def joined(cohort: Path) -> pd.DataFrame:
    labels = pd.read_csv(cohort / "labels.csv").assign(score=np.arange(24) * 1.5)
    return pd.read_csv(cohort / "slides.csv").merge(labels, on="patient_id")


def test_an_opened_run_is_the_one_that_was_kept(cohort: Path, tmp_path: Path) -> None:
    run = hk.fit_head(cohort, joined(cohort), epochs=3)
    features = hk.read_features(cohort / "features" / "P00_0.h5")

    again = hk.open_run(run.save(tmp_path / "run"))

    assert again.metrics == run.metrics
    assert (again.classes, again.task, again.settings) == (run.classes, run.task, run.settings)
    pd.testing.assert_frame_equal(again.predict_proba(features), run.predict_proba(features))
    pd.testing.assert_frame_equal(again.history, run.history)
    assert len(again.patients) == 24


def test_an_opened_run_of_numbers_predicts_numbers(cohort: Path, tmp_path: Path) -> None:
    run = hk.fit_head(cohort, joined(cohort), target="score", task="regression", epochs=3)
    features = hk.read_features(cohort / "features" / "P00_0.h5")

    again = hk.open_run(run.save(tmp_path / "run"))

    assert (again.task, again.target) == ("regression", "score")
    pd.testing.assert_frame_equal(again.predict(features), run.predict(features))
    assert again.predict(features)["pred_score"].notna().all()
    with pytest.raises(ConfigError, match="predict"):
        again.predict_proba(features)


def test_a_slide_table_says_whose_a_slide_is(cohort: Path) -> None:
    labels = pd.read_csv(cohort / "labels.csv")

    run = hk.fit_head(cohort, labels, slide_table=pd.read_csv(cohort / "slides.csv"), epochs=2)
    again = hk.fit_head(cohort, labels, slide_table=cohort / "slides.csv", epochs=2)

    assert run.funnel["used"] == 24
    assert again.metrics == run.metrics
