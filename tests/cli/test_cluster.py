import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from click.testing import Result
from PIL import Image

from histokeras.features.index import index_features
from histokeras.features.store import read_features
from histokeras.training.vectors import MemoryVectors, mean_and_scale

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def split(lab: Path, histokeras: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cluster") / "split.csv"
    made = histokeras("split", "--labels", lab / "labels.csv", "--target", "label", "-o", path,
                      "--shares", "60/20/20")  # fmt: skip
    assert made.exit_code == 0, made.output
    return path


def test_cluster_compares_tiles_and_patients_with_labels(
    lab: Path, feats: Path, split: Path, histokeras: Call, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    call = ("cluster", feats, "--split", split, "--labels", lab / "labels.csv", "-o", out,
            "--target", "label", "--hidden", "8", "--k", 2)  # fmt: skip

    result = histokeras(*call)

    assert result.exit_code == 0, result.output
    tiles = pd.read_csv(out / "clusters.csv")
    assert set(tiles["cluster"]) <= {0, 1}
    metrics = json.loads((out / "metrics.json").read_text())
    found = metrics["agreement"]["dkm-a"]["all"]
    # Patients by hand: the cluster of most tiles, of two equal ones the first.
    counts = tiles.groupby("patient_id")["cluster"].mean()
    labels = pd.read_csv(lab / "labels.csv", sep=";").set_index("Case_ID")["Label"]
    hits = float(((counts > 0.5).astype(int) == labels[counts.index]).mean())
    assert found["patient"]["label"]["acc"] == pytest.approx(max(hits, 1 - hits))
    assert found["tile"]["slide_id"]["n"] == len(tiles)
    assert metrics["agreement"]["kmeans"]["test"]["patient"]["label"]["n"] == 2
    slides = pd.read_csv(out / "slides.csv")
    assert slides["n_tiles"].sum() == len(tiles)
    np.testing.assert_allclose(slides[["share_0", "share_1"]].sum(axis=1), 1)
    for name in ("map.png", "gallery.png"):
        with Image.open(out / name) as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    assert len(pd.read_csv(out / "history.csv")) == 200

    patients = pd.read_csv(out / "patients.csv").set_index("patient_id")
    assert (patients["label"] == labels[patients.index]).all()
    assert "label, of 2 patients" in (out / "report.html").read_text()
    (out / "report.html").unlink()

    before = (out / "run.json").read_bytes()
    again, other = histokeras(*call), histokeras(*call, "--seed", 1)
    assert "nothing to do" in again.stderr
    assert (out / "report.html").is_file()
    assert (out / "run.json").read_bytes() == before
    assert other.exit_code == 3
    assert "clusters (seed)" in other.output


def test_cluster_fits_on_train_patients_alone_and_saves_the_model(
    lab: Path, feats: Path, split: Path, histokeras: Call, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    result = histokeras("cluster", feats, "--split", split, "--slide-table", lab / "labels.csv",
                        "-o", out, "--method", "kmeans", "--k", 3)  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "compared with no label" in result.stderr
    tiles = pd.read_csv(out / "clusters.csv")
    paths = index_features(feats).paths
    vectors = np.concatenate([read_features(path).vectors for path in paths])
    train = (tiles["split"] == "train").to_numpy()
    arrays = safetensors.numpy.load((out / "model/weights.safetensors").read_bytes())
    mean, scale = mean_and_scale(MemoryVectors(vectors[train]))
    np.testing.assert_allclose(arrays["mean"], mean, atol=1e-5)
    # Each centre is the mean of its train tiles, and no tile is nearer another one.
    standardised = (vectors - mean) * scale
    means = [standardised[train & (tiles["cluster"] == i)].mean(axis=0) for i in range(3)]
    np.testing.assert_allclose(arrays["cluster_centres"], means, atol=1e-3)
    distances = np.linalg.norm(standardised[:, None] - arrays["cluster_centres"], axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1), tiles["cluster"])
    assert json.loads((out / "model/model.json").read_text())["method"] == "kmeans"


def test_cluster_refuses_what_it_cannot_do(
    lab: Path, feats: Path, split: Path, histokeras: Call, tmp_path: Path
) -> None:
    folds = tmp_path / "folds.csv"
    histokeras("split", "--labels", lab / "labels.csv", "--target", "label", "-o", folds,
               "--cv", 3)  # fmt: skip
    common = ("--slide-table", lab / "labels.csv", "-o", tmp_path / "out")

    in_folds = histokeras("cluster", feats, "--split", folds, *common)
    many = histokeras("cluster", feats, "--split", split, *common, "--k", 2, "--hidden", "8,x")
    missing = histokeras("cluster", feats, *common)

    assert in_folds.exit_code == 2
    assert "has folds" in in_folds.output
    assert many.exit_code == 2
    assert "8,x" in many.output
    assert missing.exit_code == 2
    assert not (tmp_path / "out").exists()
