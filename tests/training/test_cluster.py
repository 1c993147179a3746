import numpy as np
import pytest

from histokeras.analysis.clustering import agreement
from histokeras.errors import ConfigError, TableError
from histokeras.training.cluster import ClusterConfig, fit_clusters
from histokeras.training.vectors import MemoryVectors


def blobs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    groups = np.repeat([0, 1, 2], [120, 90, 60])
    middles = rng.normal(0, 2.5, (3, 12))
    return (middles[groups] + rng.normal(0, 1, (270, 12))).astype("float32"), groups


@pytest.mark.parametrize("method", ["dkm-a", "dkm-p", "kmeans"])
def test_clusters_are_the_blobs(method: str) -> None:
    x, groups = blobs()
    config = ClusterConfig(
        method=method, n_clusters=3, hidden=(32, 16), batch_size=64, pretraining=20, epochs=2
    )

    fitted = fit_clusters(MemoryVectors(x), config)

    clusters, distances = fitted.assign(MemoryVectors(x))
    assert agreement(clusters.tolist(), groups.tolist())["acc"] > 0.95
    assert np.all(np.diff(np.bincount(clusters)) < 0)
    nearest = fitted.centres[clusters]
    np.testing.assert_allclose(
        distances, np.linalg.norm(fitted.embed(x) - nearest, axis=1), rtol=1e-4
    )
    assert len(fitted.history) == {"dkm-a": 80, "dkm-p": 60, "kmeans": 0}[method]


def test_the_same_seed_gives_the_same_clusters() -> None:
    x, _ = blobs()
    config = ClusterConfig(n_clusters=2, hidden=(8,), epochs=1, batch_size=135)

    first, again = (fit_clusters(MemoryVectors(x), config) for _ in range(2))

    np.testing.assert_array_equal(first.centres, again.centres)
    assert first.history["reconstruction"].iloc[-1] < first.history["reconstruction"].iloc[0]


def test_what_cannot_be_clustered_is_refused() -> None:
    with pytest.raises(TableError, match="2 training tile"):
        fit_clusters(MemoryVectors(np.ones((2, 3), "float32")), ClusterConfig(n_clusters=3))
    with pytest.raises(ConfigError, match="method='dec'"):
        ClusterConfig(method="dec")
    with pytest.raises(ConfigError, match="n_clusters=1"):
        ClusterConfig(n_clusters=1)
