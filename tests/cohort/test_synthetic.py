from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PillowImage

from histokeras.cohort.synthetic import (
    HAZARD_RATIO,
    LABELS,
    CohortSpec,
    cohort_slides,
    mark_of,
    sample_cohort,
    write_mark,
    write_slide_of,
    write_tables,
)
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import CLASSES


def test_the_same_seed_gives_the_same_cohort_and_another_seed_another() -> None:
    pd.testing.assert_frame_equal(sample_cohort(), sample_cohort(CohortSpec()))
    assert cohort_slides() == cohort_slides(CohortSpec())

    other = sample_cohort(CohortSpec(seed=1))
    assert not other["label"].equals(sample_cohort()["label"])


def test_sites_hold_as_many_of_each_label() -> None:
    counts = pd.crosstab(sample_cohort()["site"], sample_cohort()["label"])

    assert counts.shape == (4, 2)
    assert (counts == 5).all(axis=None)


def test_nothing_but_growth_goes_with_the_label() -> None:
    spec = CohortSpec(n_patients=400, most_slides=1)
    patients = sample_cohort(spec).set_index("patient_id")
    slides = cohort_slides(spec)
    labels = np.array([patients.loc[name[:-2], "label"] == LABELS[1] for name in slides])
    shares = np.array([slide.composition for slide in slides.values()])

    assert [slide.architecture for slide in slides.values()] == labels.astype(float).tolist()
    # The shares of tissue differ between the labels by chance alone.
    gaps = shares[labels].mean(axis=0) - shares[~labels].mean(axis=0)
    errors = shares.std(axis=0) * np.sqrt(4 / len(shares))
    assert (np.abs(gaps) < 3.5 * errors).all()
    assert len({slide.seed for slide in slides.values()}) == len(slides)
    assert all(slide.profile is None for slide in slides.values())


def test_the_planted_hazard_is_in_the_times() -> None:
    patients = sample_cohort(CohortSpec(n_patients=6000, most_slides=1))
    cohesive = patients["label"] == LABELS[0]

    # Deaths per month of follow-up: of exponential times the estimate of the hazard.
    rates = [
        group["event"].sum() / group["time"].sum()
        for group in (patients[~cohesive], patients[cohesive])
    ]

    # T varies within both, which draws the ratio a little towards 1.
    assert rates[0] / rates[1] == pytest.approx(HAZARD_RATIO, rel=0.12)
    assert patients["time"].gt(0).all()
    assert set(patients["event"]) == {0, 1}


def test_tables_and_slides_belong_together(tmp_path: Path) -> None:
    spec = CohortSpec(n_patients=4, size_px=(256, 200), most_slides=2)
    write_tables(tmp_path, spec)
    write_mark(tmp_path, mark_of(spec))
    slides = cohort_slides(spec)
    slide_id, slide = next(iter(slides.items()))

    path = write_slide_of(tmp_path, slide_id, slide)

    table = pd.read_csv(tmp_path / "slides.csv")
    labels = pd.read_csv(tmp_path / "labels.csv")
    assert table["slide_id"].tolist() == list(slides)
    assert set(table["patient_id"]) == set(labels["patient_id"])
    assert {"site", "tumour_type", "age", "sex", "T", "N", "time", "event"} < set(labels)
    with open_slide(path) as opened:
        assert opened.dimensions == (256, 200)
        assert opened.mpp == pytest.approx(0.5)
    pairs = pd.read_csv(tmp_path / "pairs.csv").set_index("slide_id")
    assert pairs.index.tolist() == list(slides)
    assert tmp_path / pairs.loc[slide_id, "image"] == path
    mask = np.asarray(PillowImage.open(tmp_path / pairs.loc[slide_id, "mask"]))
    assert set(mask.ravel()) <= set(pd.read_csv(tmp_path / "codes.csv")["code"])
    before = path.stat().st_mtime_ns
    assert write_slide_of(tmp_path, slide_id, slide) == path
    assert path.stat().st_mtime_ns == before


def test_debris_is_as_common_as_asked_for_and_leaves_the_rest_in_proportion() -> None:
    spec = CohortSpec(n_patients=400, most_slides=1, debris=0.3)

    shares = np.array([slide.composition for slide in cohort_slides(spec).values()])

    mean = dict(zip(CLASSES, shares.mean(axis=0), strict=True))
    assert mean["DEB"] == pytest.approx(0.3, abs=0.02)
    assert mean["TUM"] / mean["STR"] == pytest.approx(2, rel=0.1)
    assert mark_of(spec)["debris"] == 0.3
    assert "debris" not in mark_of(CohortSpec())


def test_impossible_cohorts_are_refused() -> None:
    with pytest.raises(ValueError, match="`debris` must be above 0"):
        CohortSpec(debris=0.95)
    with pytest.raises(ValueError, match="`n_patients` must be at least 4"):
        CohortSpec(n_patients=3)
