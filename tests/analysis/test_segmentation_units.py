"""All figures of segmented images: levels, intervals, shares, floors."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import r2_score

from histokeras.analysis.segmentation import PixelCounts, counts_row
from histokeras.analysis.segmentation_table import patient_table
from histokeras.analysis.segmentation_units import evaluate_segmentation
from histokeras.errors import TableError

CLASSES = ("other", "necrosis")


def _block(tp, fn, fp, tn, model="network", error=None):
    counts = PixelCounts(np.array([[tn, fp], [fn, tp]], np.int64), error)
    return counts_row(counts, CLASSES, "necrosis", model=model)


def _images(cells, others=None, patients=None):
    """Return images.csv from (tp, fn, fp, tn) of the network and of a floor, a row an image."""
    rows = []
    for i, cell in enumerate(cells):
        row = {"image_id": f"i{i}", "patient_id": patients[i] if patients else f"p{i:02d}"}
        row |= _block(*cell)
        if others is not None:
            row |= _block(*others[i], model="otsu")
        rows.append(row)
    return pd.DataFrame(rows)


def _many(n=12, seed=0):
    rng = np.random.default_rng(seed)
    cells, others = [], []
    for _ in range(n):
        true = int(rng.integers(100, 400))
        miss, extra = rng.integers(5, 30, 2)
        cells.append((true - miss, miss, extra, 1000 - true - extra))
        miss, extra = rng.integers(40, 90, 2)
        others.append((true - miss, miss, extra, 1000 - true - extra))
    return _images(cells, others, [f"p{i // 2}" for i in range(n)])


def test_levels_differ_and_are_named():
    # Two images of 100 and 900 pixels: 90 % and 100 % right, of one patient and of two.
    cells = [(40, 10, 0, 50), (450, 0, 0, 450)]
    apart = evaluate_segmentation(_images(cells), CLASSES, "necrosis", n_resamples=50)
    network = apart["models"]["network"]
    assert network["pooled"]["pixel_accuracy"]["value"] == pytest.approx(0.99)
    assert network["image_mean"]["pixel_accuracy"]["value"] == pytest.approx(0.95)
    assert network["unit_mean"]["dice"]["value"] == pytest.approx((80 / 90 + 1) / 2)
    together = evaluate_segmentation(
        _images(cells, patients=["p", "p"]), CLASSES, "necrosis", n_resamples=50
    )["models"]["network"]
    assert together["unit_mean"]["dice"]["value"] == pytest.approx(980 / 990)
    assert together["pooled"]["dice"]["note"] == "one patient: no interval"


def test_intervals_are_seeded_and_draw_patients_not_images():
    images = _many()
    first, again, other = (
        evaluate_segmentation(images, CLASSES, "necrosis", n_resamples=200, seed=seed)
        for seed in (1, 1, 2)
    )
    assert json.dumps(first) == json.dumps(again)
    dice = first["models"]["network"]["pooled"]["dice"]
    assert dice != other["models"]["network"]["pooled"]["dice"]
    # The same, by hand: patients drawn, their counts summed.
    images = images.assign(p=images["patient_id"].str[1:].astype(int))
    columns = [f"network_px_{i}_{j}" for i in (0, 1) for j in (0, 1)]
    sums = images.groupby("p")[columns].sum().to_numpy()
    drawn = np.random.default_rng(1).integers(0, 6, (200, 6))
    _, fp, fn, tp = sums[drawn].sum(axis=1).T
    values = 2 * tp / (2 * tp + fp + fn)
    assert (dice["low"], dice["high"]) == pytest.approx(np.quantile(values, [0.025, 0.975]))
    assert dice["n_patients"] == 6


def test_rows_in_another_order_give_the_same():
    images = _many()
    shuffled = images.sample(frac=1, random_state=0)
    one, two = (
        evaluate_segmentation(table, CLASSES, "necrosis", n_resamples=50)
        for table in (images, shuffled)
    )
    assert json.dumps(one) == json.dumps(two)


def test_patients_without_the_class_are_left_out_of_the_mean_and_counted():
    cells = [(50, 0, 0, 50), (0, 0, 0, 100), (0, 0, 1, 99)]
    metrics = evaluate_segmentation(_images(cells), CLASSES, "necrosis", n_resamples=50)
    network = metrics["models"]["network"]
    assert network["unit_mean"]["dice"]["value"] == 0.5
    assert network["undefined"]["unit_mean"]["dice"] == 1
    assert metrics["images_without"]["necrosis"] == 2
    assert network["pooled"]["dice"]["value"] == pytest.approx(100 / 101)
    assert "fewer than 5 patients in those with necrosis" in network["pooled"]["dice"]["note"]


def test_a_class_that_occurs_nowhere_has_no_dice():
    metrics = evaluate_segmentation(
        _images([(0, 0, 0, 100)] * 6), CLASSES, "necrosis", n_resamples=50
    )
    dice = metrics["models"]["network"]["pooled"]["dice"]
    assert (dice["value"], dice["low"]) == (None, None)
    assert metrics["models"]["network"]["share"]["r2"]["value"] is None
    assert metrics["constant"]["pixel_accuracy"] == 1


def test_shares_of_patients_agree_with_referees():
    images = _many()
    metrics = evaluate_segmentation(images, CLASSES, "necrosis", n_resamples=100)
    share = metrics["models"]["network"]["share"]
    table = patient_table(images, CLASSES, "necrosis")
    true, said = table["share_true"], table["network_share"]
    assert share["r2"]["value"] == pytest.approx(r2_score(true, said))
    assert share["pearson"]["value"] == pytest.approx(pearsonr(true, said)[0])
    assert share["mae"]["value"] == pytest.approx((true - said).abs().mean())
    assert share["bias"]["value"] == pytest.approx((said - true).mean())
    reach = 1.96 * (said - true).std(ddof=1)
    assert share["limit_high"]["value"] == pytest.approx((said - true).mean() + reach)
    assert share["n"] == 6
    assert (table["n_images"] == 2).all()


def test_the_verdict_tells_better_worse_and_not_shown():
    images = _many()
    better = evaluate_segmentation(images, CLASSES, "necrosis", n_resamples=200)
    difference = better["models"]["otsu"]["difference"]["pooled"]["dice"]
    assert difference["low"] > 0
    assert better["verdict"]["beaten"] is True
    assert better["verdict"]["text"].startswith(
        "The network is shown better than Otsu on haematoxylin, smoothed: Dice 0."
    )
    turned = images.rename(
        columns=lambda name: (
            name.replace("network_", "@").replace("otsu_", "network_").replace("@", "otsu_")
        )
    )
    worse = evaluate_segmentation(turned, CLASSES, "necrosis", n_resamples=200)["verdict"]
    assert (worse["beaten"], worse["against"]) == (False, {"otsu": "worse"})
    same = images.copy()
    for i in (0, 1):
        for j in (0, 1):
            same[f"otsu_px_{i}_{j}"] = same[f"network_px_{i}_{j}"]
    equal = evaluate_segmentation(same, CLASSES, "necrosis", n_resamples=200)["verdict"]
    assert (equal["beaten"], equal["against"]) == (False, {"otsu": "not shown"})
    assert "an interval that holds 0" in equal["text"]


def test_differences_are_of_units_where_both_are_defined():
    # Of the third patient neither knows the class, of the second the floor alone marks some.
    cells = [(40, 10, 0, 50), (0, 0, 0, 100), (0, 0, 0, 100), (30, 0, 0, 70)]
    others = [(20, 30, 0, 50), (0, 0, 5, 95), (0, 0, 0, 100), (30, 0, 30, 40)]
    metrics = evaluate_segmentation(_images(cells, others), CLASSES, "necrosis", n_resamples=20)
    difference = metrics["models"]["otsu"]["difference"]
    own, theirs = (80 / 90, 1), (40 / 70, 60 / 90)
    wanted = (own[0] - theirs[0] + own[1] - theirs[1]) / 2
    assert difference["unit_mean"]["dice"]["value"] == pytest.approx(wanted)
    assert difference["pooled"]["dice"]["value"] == pytest.approx(140 / 150 - 100 / 165)


def test_a_slide_name_that_comes_again_is_another_slide():
    cells = [(50, 0, 0, 50), (40, 10, 0, 50), (10, 40, 0, 50)]
    images = _images(cells, patients=["p", "p", "q"]).assign(slide_id="1")
    network = evaluate_segmentation(images, CLASSES, "necrosis", n_resamples=20)["models"][
        "network"
    ]
    both = 2 * 90 / (2 * 90 + 10)
    assert network["slide_mean"]["dice"]["value"] == pytest.approx((both + 20 / 60) / 2)


def test_of_few_patients_nothing_is_claimed():
    few = evaluate_segmentation(_many(8), CLASSES, "necrosis", n_resamples=100)
    assert few["n_units"] == 4
    assert few["verdict"]["beaten"] is None
    assert "Not known whether" in few["verdict"]["text"]
    assert "fewer than 5 patients" in few["verdict"]["text"]
    one = evaluate_segmentation(_many(2), CLASSES, "necrosis", n_resamples=20)
    assert "(1 patient: no interval)" in one["verdict"]["text"]


def test_slides_are_resampled_where_patients_are_unknown_and_images_share_them():
    # Slide a: 40 of 100 pixels found of 50, and 450 of 450; slide b all of 10.
    cells = [(40, 10, 0, 50), (450, 0, 0, 450), (10, 0, 0, 90)]
    images = _images(cells, patients=[""] * 3).assign(slide_id=["a", "a", "b"])

    metrics = evaluate_segmentation(images, CLASSES, "necrosis", n_resamples=50)

    assert (metrics["resampled_by"], metrics["n_units"], metrics["n_slides"]) == ("slide", 2, 2)
    network = metrics["models"]["network"]
    for level in ("unit_mean", "slide_mean"):
        assert network[level]["dice"]["value"] == pytest.approx((980 / 990 + 1) / 2)
    assert network["image_mean"]["dice"]["value"] == pytest.approx((80 / 90 + 2) / 3)
    table = patient_table(images, CLASSES, "necrosis")
    assert table["slide_id"].tolist() == ["a", "b"]
    assert table["n_images"].tolist() == [2, 1]


def test_images_are_resampled_where_patients_are_unknown():
    images = _many().drop(columns="patient_id")
    metrics = evaluate_segmentation(images, CLASSES, "necrosis", n_resamples=50)
    assert (metrics["resampled_by"], metrics["n_units"]) == ("image", 12)
    assert "12 images" in metrics["verdict"]["text"]


def test_the_brier_skill_is_of_all_images_or_none():
    rows = [
        {"image_id": f"i{i}", "patient_id": f"p{i}"} | _block(20, 5, 5, 70, error=7.5)
        for i in range(6)
    ]
    metrics = evaluate_segmentation(pd.DataFrame(rows), CLASSES, "necrosis", n_resamples=20)
    assert metrics["models"]["network"]["pooled"]["brier_skill"]["value"] == pytest.approx(0.6)
    rows[2] |= _block(20, 5, 5, 70)
    metrics = evaluate_segmentation(pd.DataFrame(rows), CLASSES, "necrosis", n_resamples=20)
    assert "brier_skill" not in metrics["models"]["network"]["pooled"]


def test_classes_without_one_of_interest_have_the_mean_iou_as_main_figure():
    rng = np.random.default_rng(0)
    rows = []
    for i in range(6):
        counts = rng.integers(1, 50, (3, 3)) + np.diag([200, 300, 90])
        row = {"image_id": f"i{i}", "patient_id": f"p{i}", "slide_id": f"s{i}", "fold": i % 2}
        row |= counts_row(PixelCounts(counts), ("a", "b", "c"), None)
        rows.append(row)
    metrics = evaluate_segmentation(pd.DataFrame(rows), ("a", "b", "c"), None, n_resamples=20)
    network = metrics["models"]["network"]
    assert metrics["main_figure"] == "mean_iou"
    assert network["share"] is None
    assert set(network["classes"]) == {"a", "b", "c"}
    assert [row["fold"] for row in network["folds"]] == [0, 1]
    assert network["slide_mean"]["mean_iou"] == network["image_mean"]["mean_iou"]
    assert metrics["verdict"]["text"] == "No floor was run beside the network."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[:0], "holds no image"),
        (lambda t: pd.concat([t, t]), "more than once"),
        (lambda t: t.drop(columns="network_px_0_1"), "lacks column"),
        (lambda t: t.filter(regex="^(?!network)"), "lacks the network"),
        (lambda t: t.assign(patient_id=["", *t["patient_id"][1:]]), "of 11 of 12 images only"),
        (lambda t: t.assign(otsu_px_0_0=1), "different pixels"),
        (lambda t: t.assign(network_px_0_0=None), "missing or below 0"),
    ],
)
def test_tables_that_do_not_fit_are_refused(change, message):
    with pytest.raises(TableError, match=message):
        evaluate_segmentation(change(_many()), CLASSES, "necrosis", n_resamples=10)
