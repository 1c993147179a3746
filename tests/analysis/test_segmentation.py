"""Pixels counted: the spec's cases, scikit-learn and brute force as referees."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    brier_score_loss,
    confusion_matrix,
    f1_score,
    jaccard_score,
    precision_score,
    r2_score,
    recall_score,
)

from histokeras.analysis.boundary import (
    MEASURED,
    NEITHER,
    PREDICTION_ONLY,
    TRUTH_ONLY,
    boundary_distance,
)
from histokeras.analysis.segmentation import (
    add_counts,
    class_figures,
    confusion,
    count_pixels,
    figures_of,
    image_row,
)

BINARY = ("other", "necrosis")


def _mask(*runs):
    """Return a mask of one row from (class, number of pixels)."""
    return np.concatenate([np.full(n, k, np.uint8) for k, n in runs])[np.newaxis]


@pytest.mark.parametrize(
    ("runs", "accuracy", "r2", "iou", "dice"),
    [
        # (true, predicted, pixels); prevalence .05 three times, then .5.
        ([(1, 0, 50), (0, 0, 950)], 0.95, -0.052632, 0.0, 0.0),
        ([(1, 1, 25), (1, 0, 25), (0, 0, 950)], 0.975, 0.473684, 0.5, 0.666667),
        ([(1, 1, 50), (0, 1, 50), (0, 0, 900)], 0.95, -0.052632, 0.5, 0.666667),
        ([(1, 1, 450), (1, 0, 50), (0, 0, 500)], 0.95, 0.8, 0.9, 0.947368),
    ],
)
def test_figures_of_known_masks(runs, accuracy, r2, iou, dice):
    truth = _mask(*((true, n) for true, _, n in runs))
    said = _mask(*((predicted, n) for _, predicted, n in runs))
    row = image_row(truth, said, None, BINARY, "necrosis", None)
    found = {name: row[f"network_{name}"] for name in ("pixel_accuracy", "r2", "iou", "dice")}
    wanted = {"pixel_accuracy": accuracy, "r2": r2, "iou": iou, "dice": dice}
    assert found == pytest.approx(wanted, abs=5e-7)


def test_pixel_accuracy_is_global_not_the_mean_of_images():
    small = confusion(_mask((1, 100)), _mask((1, 90), (0, 10)), 2)
    large = confusion(_mask((1, 900)), _mask((1, 900)), 2)
    both = figures_of(np.stack([small, large]), 1)["pixel_accuracy"]
    assert figures_of(small + large, 1)["pixel_accuracy"] == pytest.approx(0.99)
    assert both.mean() == pytest.approx(0.95)


def test_figures_agree_with_scikit_learn_and_pixels_without_label_count_nowhere():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (60, 70)).astype(np.uint8)
    said = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 3, truth.shape))
    said = said.astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    said[truth == 255] = 255
    probability = rng.random(truth.shape).astype(np.float32)
    counts = count_pixels(truth, said, probability, n_classes=3, positive=2)
    known = truth != 255
    y, p = truth[known], said[known]
    assert (counts.confusion == confusion_matrix(y, p)).all()
    each = class_figures(counts.confusion)
    for name, referee in (
        ("dice", f1_score),
        ("iou", jaccard_score),
        ("precision", precision_score),
        ("recall", recall_score),
    ):
        np.testing.assert_allclose(each[name], referee(y, p, average=None))
    found = figures_of(counts.confusion, 2, np.asarray(counts.squared_error))
    assert found["r2"] == pytest.approx(r2_score(y == 2, p == 2))
    brier = brier_score_loss(y == 2, probability[known])
    assert found["brier_skill"] == pytest.approx(1 - brier / np.var(y == 2), rel=1e-6)
    assert found["mean_iou"] == pytest.approx(jaccard_score(y, p, average="macro"))


def test_bands_add_up_to_the_image():
    rng = np.random.default_rng(1)
    truth, said = rng.integers(0, 2, (2, 40, 30)).astype(np.uint8)
    probability = rng.random((40, 30))
    whole = count_pixels(truth, said, probability, n_classes=2, positive=1)
    parts = [
        count_pixels(truth[a:b], said[a:b], probability[a:b], n_classes=2, positive=1)
        for a, b in ((0, 7), (7, 31), (31, 40))
    ]
    total = add_counts(parts)
    assert (total.confusion == whole.confusion).all()
    assert total.squared_error == pytest.approx(whole.squared_error)
    hard = count_pixels(truth, said, None, n_classes=2)
    with pytest.raises(ValueError, match="all with probabilities or none"):
        add_counts([whole, hard])


def test_images_without_the_class():
    empty, some = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    some[2:5, 2:5] = 1
    neither = image_row(empty, empty, None, BINARY, "necrosis", None)
    assert np.isnan([neither[f"network_{name}"] for name in ("dice", "iou", "r2")]).all()
    invented = image_row(empty, some, None, BINARY, "necrosis", None)
    assert (invented["network_dice"], invented["network_iou"]) == (0, 0)
    assert np.isnan(invented["network_recall"])
    missed = image_row(some, empty, None, BINARY, "necrosis", None)
    assert (missed["network_dice"], missed["network_recall"]) == (0, 0)
    assert np.isnan(missed["network_precision"])
    states = [row["network_boundary"] for row in (neither, invented, missed)]
    assert states == [NEITHER, PREDICTION_ONLY, TRUTH_ONLY]


def test_masks_that_do_not_fit_are_refused():
    mask = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="equally large"):
        confusion(mask, mask[:2], 2)
    with pytest.raises(ValueError, match=r"`predicted` must hold class numbers in 0\.\.1"):
        confusion(mask, mask + 2, 2)
    with pytest.raises(ValueError, match="positive class"):
        count_pixels(mask, mask, np.zeros((4, 4)), n_classes=2)


def _referee_boundary(mask, k):
    """Return boundary pixels one by one."""
    found = []
    for y, x in np.argwhere(mask == k).tolist():
        for j, i in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= j < mask.shape[0] and 0 <= i < mask.shape[1]
            if inside and mask[j, i] not in (k, 255):
                found.append((y, x))
                break
    return np.array(found, float)


@pytest.mark.parametrize("seed", range(4))
def test_boundary_distances_agree_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    coarse = rng.random((2, 8, 9)) < 0.4
    truth, said = (np.kron(m, np.ones((5, 5))).astype(np.uint8) for m in coarse)
    truth[rng.random(truth.shape) < 0.1] = 255
    found = boundary_distance(truth, said, 1)
    a = _referee_boundary(truth, 1)
    b = _referee_boundary(np.where(truth == 255, 255, said), 1)
    distances = np.sqrt(((a[:, np.newaxis] - b) ** 2).sum(axis=2))
    there, back = distances.min(axis=1), distances.min(axis=0)
    assert found.state == MEASURED
    assert found.hd95_px == pytest.approx(max(np.percentile(d, 95) for d in (there, back)))
    assert found.assd_px == pytest.approx(np.concatenate([there, back]).mean())


def test_boundary_of_shifted_squares_and_what_makes_none():
    truth, said = np.zeros((2, 30, 30), np.uint8)
    truth[5:15, 5:15] = 1
    said[5:15, 8:18] = 1
    row = image_row(truth, said, None, BINARY, "necrosis", 0.5)
    # Left and right sides lie 3 px apart, most of top and bottom lie on each other.
    assert row["network_hd95_px"] == 3
    assert row["network_hd95_um"] == 1.5
    half = np.zeros((30, 30), np.uint8)
    half[:, :10] = 1
    assert boundary_distance(half, half, 1).assd_px == 0
    full = np.ones((30, 30), np.uint8)
    # The edge of the picture is no boundary: the line at x = 9 has none to be compared with.
    assert boundary_distance(half, full, 1).state == TRUTH_ONLY
    ignored = half.copy()
    ignored[:, 10:] = 255
    assert boundary_distance(ignored, half, 1).state == NEITHER


def test_long_boundaries_are_measured_from_some_of_their_pixels():
    rng = np.random.default_rng(3)
    truth, said = (rng.random((2, 80, 80)) < 0.3).astype(np.uint8)
    every, some = (boundary_distance(truth, said, 1, most_points=n) for n in (10**6, 400))
    assert every.step == 1
    assert some.step > 1
    assert some.assd_px == pytest.approx(every.assd_px, rel=0.15)


def test_rows_fit_a_table_of_more_classes():
    rng = np.random.default_rng(4)
    truth, said = rng.integers(0, 3, (2, 20, 20)).astype(np.uint8)
    row = image_row(truth, said, None, ("a", "b", "c"), None, 0.5, model="colour")
    table = pd.DataFrame([row])
    assert table["colour_px_2_1"][0] == ((truth == 2) & (said == 1)).sum()
    assert "colour_dice" not in table
    assert table["colour_mean_iou"][0] == pytest.approx(
        jaccard_score(truth.ravel(), said.ravel(), average="macro")
    )
