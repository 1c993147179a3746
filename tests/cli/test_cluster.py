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


@pytest.mark.parametrize("method", ["kmeans", "dkm-a"])
def test_known_clusters_take_the_tiles_of_new_slides(
    method: str, lab: Path, feats: Path, split: Path, histokeras: Call, tmp_path: Path
) -> None:
    out, new = tmp_path / "out", tmp_path / "new"
    tables = ("--slide-table", lab / "labels.csv")
    fitted = histokeras("cluster", feats, "--split", split, *tables, "-o", out, "--hidden", "8",
                        "--method", method)  # fmt: skip
    assert fitted.exit_code == 0, fitted.output

    result = histokeras("cluster", feats, "--model", out, *tables, "-o", new)

    assert result.exit_code == 0, result.output
    # Assigned to their own clusters, tiles and patients have what they had.
    for name in ("clusters.csv", "slides.csv", "patients.csv"):
        before = pd.read_csv(out / name)
        after = pd.read_csv(new / name)
        pd.testing.assert_frame_equal(before[list(after)], after)
        assert set(before) - set(after) <= {"split", "kmeans"}
    again = histokeras("cluster", feats, "--model", out, *tables, "-o", new)
    assert "nothing to do" in again.stderr
    given = histokeras("cluster", feats, "--model", out, "-o", new, "--k", 3)
    assert given.exit_code == 2
    assert "`--k` is for fitting" in given.output
    own = histokeras("cluster", feats, "--model", out, "-o", out, "--overwrite")
    assert own.exit_code == 2
    assert "holds the clusters themselves" in own.output
    page = histokeras("report", new)
    assert page.exit_code == 3
    assert "have no page" in page.output

    path = out / "model" / "model.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "features": {**card["features"], "tile_mpp": 9.0}}))
    other = histokeras("cluster", feats, "--model", out, "-o", new)
    assert other.exit_code == 3
    assert "tile_mpp" in other.output
    path.write_text(json.dumps({**card, "n_clusters": 3}))
    unfit = histokeras("cluster", feats, "--model", out, "-o", new)
    assert "do not fit" in unfit.output
    path.write_text(json.dumps({**card, "n_features": 10**9}))
    huge = histokeras("cluster", feats, "--model", out, "-o", new)
    assert "sizes or names" in huge.output
    path.write_text(json.dumps(card))
    weights = out / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes() + b"?")
    damaged = histokeras("cluster", feats, "--model", out, "-o", new)
    assert "is not the file" in damaged.output
