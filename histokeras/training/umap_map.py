"""A map of tiles by UMAP (McInnes, Healy, Melville 2018): the one file that knows umap-learn."""

import numpy as np

from histokeras.errors import MissingError
from histokeras.training.cluster_map import Projection
from histokeras.training.vectors import Matrix

try:
    import umap
except ImportError as error:
    raise MissingError(
        "`--map umap` needs umap-learn, which is not installed.",
        hint='pip install "histokeras[umap]"',
    ) from error

_NEIGHBOURS = 15


def _fit_umap(train: Matrix, others: Matrix, seed: int) -> tuple[Matrix, Matrix, tuple[str, str]]:
    # One thread: several give other points each time.
    fitted = umap.UMAP(
        n_neighbors=_NEIGHBOURS, n_components=2, random_state=seed, transform_seed=seed, n_jobs=1
    ).fit(train)
    # Train tiles stay where they were fitted: placed anew they would lie in rings.
    placed = fitted.transform(others) if len(others) else np.empty((0, 2), np.float32)
    return fitted.embedding_, placed, ("UMAP 1", "UMAP 2")


UMAP_MAP = Projection(
    "umap",
    _fit_umap,
    "UMAP keeps neighbours together; how far clusters lie from each other, and how much room each "
    "takes, means little.",
    _NEIGHBOURS + 1,
)
