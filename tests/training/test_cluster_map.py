import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.decomposition import PCA

from histokeras.cli.main import main
from histokeras.training import cluster_map
from histokeras.training.cluster_map import PCA_MAP, map_tiles
from histokeras.training.cluster_run import _owned
from histokeras.training.vectors import MemoryVectors, mean_and_scale


def two_blobs(n: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Vectors in two blobs, the cluster telling which; every third tile is in test."""
    rng = np.random.default_rng(4)
    clusters = np.arange(n) % 2
    x = (rng.normal(0, 1, (n, 6)) + 8 * clusters[:, None]).astype("float32")
    side = np.where(np.arange(n) % 3 == 0, "test", "train")
    return x, pd.DataFrame({"cluster": clusters, "split": side})


def test_the_axes_are_those_of_train_alone() -> None:
    x, tiles = two_blobs(60)
    # What lies in test must not turn the axes.
    x[0] = 500
    own = x[(tiles["split"] == "train").to_numpy()]
    train = MemoryVectors(own)

    found = map_tiles(train, MemoryVectors(x), tiles, PCA_MAP, seed=0)

    mean, scale = mean_and_scale(train)
    pca = PCA(2, random_state=0).fit((own - mean) * scale)
    np.testing.assert_allclose(
        found.points[["x", "y"]], pca.transform((x - mean) * scale), rtol=1e-3, atol=1e-3
    )
    assert found.points["cluster"].tolist() == tiles["cluster"].tolist()
    assert f"{pca.explained_variance_ratio_[0]:.0%}" in found.axes[0]


def test_of_many_tiles_a_sample_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_map, "_MOST_TILES", 12)
    x, tiles = two_blobs(60)
    train = MemoryVectors(x[(tiles["split"] == "train").to_numpy()])

    first, again, other = (
        map_tiles(train, MemoryVectors(x), tiles, PCA_MAP, seed).points for seed in (0, 0, 1)
    )

    assert len(first) == 12
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


@pytest.mark.slow
def test_umap_places_others_beside_their_like() -> None:
    pytest.importorskip("umap", reason="the extra histokeras[umap] is not installed")
    from histokeras.training.umap_map import UMAP_MAP

    x, tiles = two_blobs(90)
    train = MemoryVectors(x[(tiles["split"] == "train").to_numpy()])

    found, again = (map_tiles(train, MemoryVectors(x), tiles, UMAP_MAP, 0) for _ in range(2))

    assert found.axes == ("UMAP 1", "UMAP 2")
    pd.testing.assert_frame_equal(found.points, again.points)
    own = tiles["split"] == "train"
    middles = found.points[own].groupby("cluster")[["x", "y"]].mean().to_numpy()
    placed = found.points.loc[~own, ["x", "y"]].to_numpy()
    distances = np.linalg.norm(placed[:, None] - middles, axis=2)
    assert distances.argmin(axis=1).tolist() == tiles.loc[~own, "cluster"].tolist()


def test_a_missing_extra_is_named_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.delitem(sys.modules, "histokeras.training.umap_map", raising=False)
    (tmp_path / "split.csv").write_text("patient_id,split\n")
    words = ["cluster", str(tmp_path), "--split", str(tmp_path / "split.csv"), "-o",
             str(tmp_path / "out"), "--map", "umap"]  # fmt: skip

    result = CliRunner().invoke(main, words)

    assert result.exit_code == 5
    assert 'pip install "histokeras[umap]"' in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("patient", "slide", "tile", "limit", "n_owners"),
    [
        ("p", "s", "t", "at most 3 of a patient", 1),
        # Slides and tiles stand in for patients that are unknown.
        ("s", "s", "t", "at most 3 of a slide", 1),
        ("t", "", "t", "", 4),
        ("", "", "t", "", 4),
    ],
)
def test_pictures_are_limited_by_whom_is_known(
    patient: str, slide: str, tile: str, limit: str, n_owners: int
) -> None:
    table = pd.DataFrame({"patient_id": [patient] * 4, "slide_id": slide, "tile": tile})

    found, words = _owned(table)

    assert words == limit
    assert found["_owner"].nunique() == n_owners
