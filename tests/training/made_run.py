"""A finished run folder on mini, made without training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from histokeras.features.settings import FeatureSettings
from histokeras.files import sha256_file, write_json
from histokeras.models.catalog import MINI, MINI_WEIGHTS
from histokeras.models.heads import build_head
from histokeras.models.model_file import write_head
from histokeras.tiles.grid import TileSpec

CLASSES = ("glands", "stroma")


def write_run(
    folder: Path,
    *,
    size_px: int = 64,
    temperatures: Sequence[float] = (1.0,),
    positive: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write heads of random weights (a fold each, if several temperatures) and metrics.json."""
    known = FeatureSettings(
        backbone="mini",
        weights="bundled",
        weights_sha256=sha256_file(MINI_WEIGHTS),
        tile=TileSpec(size_px=size_px, tissue="none"),
    ).as_dict()
    known |= settings or {}
    known = {key: value for key, value in known.items() if value is not None}
    n = len(temperatures)
    for fold, temperature in enumerate(temperatures):
        head = build_head("linear", MINI.n_features, len(CLASSES))
        rng = np.random.default_rng(fold)
        kernel = head.get_layer("logits")
        shapes = [weight.shape for weight in kernel.get_weights()]
        kernel.set_weights([rng.normal(0, 0.3, shape) for shape in shapes])
        card = {
            "head": "linear", "n_features": MINI.n_features, "classes": list(CLASSES),
            "temperature": temperature, "features": known, "positive": positive, "n_folds": n,
        }  # fmt: skip
        write_head(folder / (f"folds/{fold}/head" if n > 1 else "head"), head, card)
    write_json(folder / "metrics.json", {"splits": {}})
    return folder
