import json

import numpy as np
import pytest

from histokeras.analysis.bootstrap import Estimate, Figures, draw_counts, patient_bootstrap
from histokeras.analysis.metrics import Floats


def mean_figure(
    values: list[float], *, needs: tuple[str, ...] = (), **groups: list[bool]
) -> Figures:
    """One figure: the mean of one value a patient."""
    of_patient = np.array(values)

    def of_counts(counts: Floats) -> Floats:
        return (counts @ of_patient / counts.sum(axis=1))[:, np.newaxis]

    members = {name: np.array(held) for name, held in groups.items()}
    return Figures(("mean",), of_counts, len(values), (needs,), members)


def test_resamples_hold_as_many_patients_as_there_are() -> None:
    counts = draw_counts(np.random.default_rng(0), 50, 7)

    assert counts.shape == (50, 7)
    np.testing.assert_array_equal(counts.sum(axis=1), 7)
    assert counts.std() > 0


def test_interval_is_the_percentiles_of_the_resampled_means() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]

    found = patient_bootstrap(mean_figure(values), n_resamples=500, seed=3, alpha=0.1)["mean"]

    rng = np.random.default_rng(3)
    means = [np.array(values)[rng.integers(0, 6, 6)].mean() for _ in range(500)]
    assert found.value == pytest.approx(63 / 6)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.05, 0.95])))
    assert (found.n_patients, found.n_resamples, found.redrawn, found.note) == (6, 500, 0, "")


def test_mean_of_many_patients_has_the_textbook_interval() -> None:
    values = np.random.default_rng(0).normal(size=400)

    found = patient_bootstrap(mean_figure(values.tolist()))["mean"]

    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    figures = mean_figure([0.1, 0.5, 0.2, 0.9, 0.4])

    first, again = (patient_bootstrap(figures, n_resamples=200, seed=1) for _ in range(2))
    other = patient_bootstrap(figures, n_resamples=200, seed=2)

    assert first == again
    assert first["mean"].low != other["mean"].low or first["mean"].high != other["mean"].high


def test_resamples_without_a_needed_class_are_drawn_again_and_counted() -> None:
    # Patient 0 is the only one of class a: a resample of 2 lacks it, or class b, half the time.
    figures = mean_figure(
        [0.0, 1.0],
        needs=("class a", "class b"),
        **{"class a": [True, False], "class b": [False, True]},
    )

    found = patient_bootstrap(figures, n_resamples=10, seed=5)["mean"]

    rng = np.random.default_rng(5)
    usable = redrawn = 0
    while usable < 10:
        if len(set(rng.integers(0, 2, 2).tolist())) == 2:
            usable += 1
        else:
            redrawn += 1
    assert redrawn > 0
    assert found.redrawn == redrawn
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    assert found.note == "fewer than 5 patients in class a, class b: interval not reliable"


def test_only_the_figure_that_needs_a_class_is_drawn_again() -> None:
    held = np.array([True, False, False])
    figures = Figures(
        ("needy", "frugal"),
        lambda counts: np.column_stack([counts[:, 0], counts[:, 0]]),
        3,
        (("class a",), ()),
        {"class a": held},
    )

    found = patient_bootstrap(figures, n_resamples=100)

    assert found["needy"].redrawn > 0
    assert found["frugal"].redrawn == 0
    assert found["frugal"].low == 0
    assert found["needy"].low == 1


def test_undefined_resamples_are_drawn_again() -> None:
    def of_counts(counts: Floats) -> Floats:
        return np.where(counts[:, :1] > 0, 1.0, np.nan)

    found = patient_bootstrap(Figures(("x",), of_counts, 5, ((),), {}), n_resamples=50)["x"]

    assert found.redrawn > 0
    assert (found.low, found.high, found.n_resamples) == (1, 1, 50)


def test_bootstrap_gives_up_where_nearly_no_resample_is_usable() -> None:
    # 10 classes of one patient each: a resample holds all of them once in 2,756 draws.
    names = [f"class {k}" for k in range(10)]
    members = {name: (np.arange(10) == k).tolist() for k, name in enumerate(names)}
    figures = mean_figure([0.5] * 10, needs=tuple(names), **members)

    found = patient_bootstrap(figures, n_resamples=50)["mean"]

    assert (found.value, found.low, found.high) == (0.5, None, None)
    assert "of 1000 resamples hold every class that is needed: no interval" in found.note
    assert found.n_resamples + found.redrawn == 1000


def test_one_patient_has_no_interval() -> None:
    found = patient_bootstrap(mean_figure([0.7]))["mean"]

    assert found == Estimate(0.7, None, None, 1, 0, 0, "one patient: no interval")


def test_no_patient_has_no_figure() -> None:
    found = patient_bootstrap(mean_figure([]))["mean"]

    assert found == Estimate(None, None, None, 0, 0, 0, "no patients")


def test_absent_class_is_named() -> None:
    figures = mean_figure([0.5] * 6, needs=("class a",), **{"class a": [False] * 6})

    found = patient_bootstrap(figures)["mean"]

    assert (found.value, found.low) == (0.5, None)
    assert found.note == "no patient in class a: no interval"


def test_few_patients_are_called_unreliable() -> None:
    assert "fewer than 5 patients" in patient_bootstrap(mean_figure([0.1] * 4))["mean"].note
    assert patient_bootstrap(mean_figure([0.1] * 5))["mean"].note == ""


def test_tiles_instead_of_patients_are_called_so() -> None:
    found = patient_bootstrap(mean_figure([0.1, 0.2]), unit="tile")["mean"]

    assert found.n_patients is None
    assert found.note == "fewer than 5 tiles: interval not reliable"


def test_estimate_is_json_with_null_for_undefined() -> None:
    figures = Figures(("x",), lambda counts: np.full((len(counts), 1), np.nan), 6, ((),), {})

    text = json.dumps(patient_bootstrap(figures)["x"].as_json(), allow_nan=False)

    assert json.loads(text) == {
        "value": None,
        "low": None,
        "high": None,
        "n_patients": 6,
        "n_resamples": 0,
        "redrawn": 0,
        "note": "",
    }


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 5])
def test_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"`alpha` is a share in \(0, 1\). Received: alpha="):
        patient_bootstrap(mean_figure([1.0]), alpha=alpha)


def test_no_resamples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be at least 1\. Received: n_resamples=0"):
        patient_bootstrap(mean_figure([1.0]), n_resamples=0)
