"""Fit the baselines of a number on the side of the split that the network learns from."""

from collections.abc import Mapping, Sequence

import numpy as np

from histokeras.analysis.baselines import sample_rows
from histokeras.analysis.compare import COLOUR, FLOOR
from histokeras.analysis.number_baselines import (
    NumberBaselines,
    RidgeBaseline,
    Tiles,
    category_means,
    fit_ridge,
)
from histokeras.features.index import FeatureIndex
from histokeras.tiles.texture import N_COLOUR
from histokeras.training.references import label_weights, read_floor
from histokeras.training.rows import TileRows


def fit_number_baselines(
    index: FeatureIndex,
    rows: TileRows,
    target: str,
    categories: Mapping[str, Sequence[str]],
    *,
    key: str,
    seed: int = 0,
) -> NumberBaselines:
    """Fit every baseline that the features and tables allow.

    Args:
        index: The feature files.
        rows: The tiles on all sides; their targets are numbers.
        target: Name of the target.
        categories: Name of a column -> its value for each row of ``rows.units``.
        key: Column of ``rows.units`` at which labels stand; each of its values counts once.
        seed: Of the tiles that are taken where there are very many.

    Returns:
        The baselines; ``colour`` and ``floor`` only where all feature files hold that vector, and
        no ``floor`` where that vector is the features themselves.
    """
    train, val = rows.on_side("train"), rows.on_side("val")
    linear: dict[str, RidgeBaseline] = {}
    if index.has_floor and len(val):
        rng = np.random.default_rng(seed)
        tiles = [_tiles(index, part, key, rng) for part in (train, val)]
        widths = {COLOUR: N_COLOUR, FLOOR: tiles[0].vectors.shape[1]}
        if index.is_floor:
            del widths[FLOOR]
        for name, width in widths.items():
            linear[name] = fit_ridge(*(part.narrowed(width) for part in tiles))
    return NumberBaselines(
        target,
        float(np.average(train.target, weights=label_weights(train, key))),
        linear,
        {name: _category(rows, values) for name, values in categories.items()},
        index.floor_names,
    )


def _tiles(index: FeatureIndex, part: TileRows, key: str, rng: np.random.Generator) -> Tiles:
    weights = label_weights(part, key)
    taken = sample_rows(np.zeros(len(part), np.int64), rng)
    few = part.where(taken)
    return Tiles(read_floor(index, few), few.target, weights[taken])


def _category(rows: TileRows, values: Sequence[str]) -> dict[str, float]:
    """Take slides (or ready-made tiles), not the tiles in them."""
    train = rows.on_side("train")
    used, first = np.unique(train.unit, return_index=True)
    return category_means([values[unit] for unit in used], train.target[first])
