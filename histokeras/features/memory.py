"""``hk.extract_features``: tiles in, features out, nothing written."""

from collections.abc import Sequence
from typing import overload

from histokeras.errors import ConfigError, SlideError
from histokeras.features.engine import open_engine
from histokeras.features.extract import Extracted, extract
from histokeras.features.settings import COMPUTE_BATCH, FeatureSettings
from histokeras.features.sources import CutSource
from histokeras.features.store import FeatureSet
from histokeras.models.catalog import DEFAULT_BACKBONE, require_backbone
from histokeras.models.devices import choose_strategy
from histokeras.models.weights import find_weights
from histokeras.runs.environment import usable_cores
from histokeras.tiles.cut import TileSet


@overload
def extract_features(
    tiles: TileSet,
    *,
    backbone: str = ...,
    weights: str | None = ...,
    stain_norm: str = ...,
    gpus: str = ...,
) -> FeatureSet: ...


@overload
def extract_features(
    tiles: Sequence[TileSet],
    *,
    backbone: str = ...,
    weights: str | None = ...,
    stain_norm: str = ...,
    gpus: str = ...,
) -> list[FeatureSet]: ...


def extract_features(
    tiles: TileSet | Sequence[TileSet],
    *,
    backbone: str = DEFAULT_BACKBONE,
    weights: str | None = None,
    stain_norm: str = "none",
    gpus: str = "all",
) -> FeatureSet | list[FeatureSet]:
    """Extract bottleneck features of the tiles of open slides.

    For many slides the command ``histokeras extract-features`` is the better way: it keeps each
    slide's features in a file, and resumes.

    Args:
        tiles: Tiles of one slide, from :func:`histokeras.cut_tiles`, or of several; their slides
            must still be open.
        backbone: Name of the network.
        weights: ``imagenet``, the path of a ``.h5`` file or ``random:SEED``; the backbone's own
            default if None.
        stain_norm: ``none``, or ``macenko`` or ``reinhard`` to bring each slide's stain to one
            reference.
        gpus: ``all``, ``cpu`` or numbers such as ``0,1``.

    Returns:
        The features, or a list of them: vectors float32 ``(n_tiles, n_features)``, their tiles, and
        in ``extras`` colour and texture, hashes and pictures of the same tiles.

    Raises:
        MissingError: If the weights are not here.
        ConfigError: If the slides were cut in different ways.
        SlideError: If a slide cannot be read or has no tile, or its stain cannot be estimated.
    """
    several = [tiles] if isinstance(tiles, TileSet) else list(tiles)
    specs = {item.spec for item in several}
    if len(specs) != 1:
        raise ConfigError(
            f"`tiles` must be cut with one TileSpec. Received: {len(specs)} different ones."
        )
    network = require_backbone(backbone)
    source = find_weights(network, weights)
    settings = FeatureSettings(
        backbone=backbone,
        weights=source.label,
        weights_sha256=source.sha256,
        tile=specs.pop(),
        compute_batch=COMPUTE_BATCH,
        stain_norm=stain_norm,
    )
    engine = open_engine(network, source, settings.tile.size_px, strategy=choose_strategy(gpus))
    sources = [CutSource(item) for item in several]
    workers = min(8, usable_cores())
    found = extract(sources, settings.as_dict(), engine, workers=workers)
    results = [_require(result) for result in found]
    return results[0] if isinstance(tiles, TileSet) else results


def _require(result: Extracted) -> FeatureSet:
    if result.error is not None:
        raise result.error
    if result.features is None:
        code, message = result.empty or ("NO_TILES", "no tile was kept.")
        raise SlideError(f"{result.source.slide_id}: {message}", code=code)
    return result.features
