"""Fit the baselines on the side of the split that the network learns from, and apply them."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from histokeras.analysis.baselines import (
    Baselines,
    LinearBaseline,
    fit_category,
    fit_linear,
    sample_rows,
)
from histokeras.analysis.compare import COLOUR, FLOOR
from histokeras.analysis.number_baselines import NumberBaselines
from histokeras.features.index import FeatureIndex
from histokeras.features.store import read_rows
from histokeras.tiles.texture import N_COLOUR
from histokeras.training.rows import TileRows

Matrix = npt.NDArray[np.float32]


def fit_baselines(
    index: FeatureIndex,
    rows: TileRows,
    classes: Sequence[str],
    categories: Mapping[str, Sequence[str]],
    *,
    seed: int = 0,
) -> Baselines:
    """Fit every baseline that the features and tables allow.

    Args:
        index: The feature files.
        rows: The tiles on all sides.
        classes: Names of the classes.
        categories: Name of a column -> its value for each row of ``rows.units``.
        seed: Of the tiles that are taken where there are very many.

    Returns:
        The baselines; ``colour`` and ``floor`` only where all feature files hold that vector, and
        no ``floor`` where that vector is the features themselves.
    """
    train, val = rows.on_side("train"), rows.on_side("val")
    counts = np.bincount(train.target, minlength=len(classes))
    linear: dict[str, LinearBaseline] = {}
    if index.has_floor and len(val):
        rng = np.random.default_rng(seed)
        train, val = (part.where(sample_rows(part.target, rng)) for part in (train, val))
        vectors, val_vectors = read_floor(index, train), read_floor(index, val)
        widths = {COLOUR: N_COLOUR, FLOOR: vectors.shape[1]}
        if index.is_floor:
            del widths[FLOOR]
        for name, width in widths.items():
            linear[name] = fit_linear(
                vectors[:, :width],
                train.target,
                val_vectors[:, :width],
                val.target,
                len(classes),
            )
    return Baselines(
        tuple(classes),
        classes[int(counts.argmax())],
        linear,
        {name: _fit_category(rows, values, classes) for name, values in categories.items()},
        index.floor_names,
    )


def _fit_category(
    rows: TileRows, values: Sequence[str], classes: Sequence[str]
) -> dict[str, list[float]]:
    """Count slides (or ready-made tiles), not the tiles in them."""
    used = np.unique(rows.on_side("train").unit)
    targets = np.full(len(rows.units), -1, np.int64)
    targets[rows.unit] = rows.target
    return fit_category([values[unit] for unit in used], targets[used], len(classes))


def read_floor(index: FeatureIndex, rows: TileRows) -> Matrix:
    """Return the colour-and-texture vectors of tiles, float32 ``(n, d)``, in their order."""
    parts = [np.empty((0, len(index.floor_names)), np.float32)]
    for file, part in rows.of_files():
        mine = rows.row[part]
        stored = read_rows(index.paths[file], int(mine[0]), int(mine[-1]) + 1, name="floor")
        parts.append(stored[mine - mine[0]].astype(np.float32, copy=False))
    return np.concatenate(parts)


def baseline_probabilities(
    baselines: Baselines | NumberBaselines,
    index: FeatureIndex,
    rows: TileRows,
    categories: Mapping[str, Sequence[str]],
) -> dict[str, Matrix]:
    """Return what each baseline says of each tile.

    Args:
        baselines: Of :func:`fit_baselines`, or those of a number.
        index: The feature files.
        rows: The tiles.
        categories: As for fitting; columns that are not given are left out.

    Returns:
        Name of the baseline -> probabilities, float32 ``(n, K)``, or numbers, ``(n, 1)``, in the
        order of the tiles.
    """
    n, width = len(rows), baselines.n_outputs
    found = {name: same.astype(np.float32) for name, same in baselines.constants(n).items()}
    # Numbers of another meaning or order would give another baseline under the same name.
    if baselines.linear and index.floor_names == baselines.floor_names:
        found |= {name: np.empty((n, width), np.float32) for name in baselines.linear}
        for _, part in rows.of_files():
            only = TileRows(
                rows.file[part], rows.row[part], rows.unit[part], rows.target[part], rows.units
            )
            floor = read_floor(index, only)
            for name, model in baselines.linear.items():
                found[name][part] = model.outputs(floor[:, : len(model.mean)])
    for name in baselines.categories:
        if name in categories:
            of_units = baselines.of_categories(name, categories[name])
            found[name] = of_units[rows.unit].astype(np.float32)
    return found


def label_weights(rows: TileRows, key: str) -> Matrix:
    """Weigh tiles so that each labelled slide or patient counts once, whatever its size.

    Args:
        rows: The tiles.
        key: Column of ``rows.units`` at which labels stand.

    Returns:
        float32 ``(n,)``, 1 / number of tiles of the same unit.
    """
    _, codes = np.unique(rows.units[key].to_numpy(str), return_inverse=True)
    mine = codes[rows.unit]
    return (1 / np.bincount(mine, minlength=len(codes))[mine]).astype(np.float32)
