"""Open the tile classifier of a run to ask it for one class, such as tumour."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from histokeras.analysis.calibration import temperature_scaled
from histokeras.errors import ConfigError, FeatureError, HistokerasError
from histokeras.features.engine import Engine, open_engine
from histokeras.models.catalog import BAG_HEADS, Backbone, require_backbone
from histokeras.models.devices import choose_strategy
from histokeras.models.model_file import read_head
from histokeras.models.weights import WeightsSource, find_weights
from histokeras.slides.node_classes import tumour_class
from histokeras.tiles.tile_scorer import Score, TileScorer
from histokeras.training.tile_classifier import for_slides
from histokeras.training.trained_run import TrainedRun, open_run, weights_of
from histokeras.types import CLASSIFICATION

Vectors = npt.NDArray[np.float32]


def open_tile_scorer(
    run: str | Path,
    *,
    tile_class: str | None = None,
    mpp: float | None = None,
    weights: str | None = None,
    trust: str | None = None,
    gpus: str = "all",
    batch_size: int = 16,
) -> TileScorer:
    """Open the tile classifier of a run; the probabilities of several folds are averaged.

    It computes what ``predict`` does: the same backbone in the same precision, the heads with their
    temperatures, the stain norm of the run.

    Args:
        run: A run folder of ``fit-head`` or ``finetune``, on slides or on ready-made tiles.
        tile_class: The class that is asked for; the positive one, or the tumour, if None.
        mpp: Of runs on ready-made tiles of unknown resolution what it was, um per pixel.
        weights: Path of the weights file, if the run used one.
        trust: SHA-256 of a whole model whose weights may be taken.
        gpus: ``all``, ``cpu`` or numbers such as ``0,1``.
        batch_size: Tiles a device computes at once.

    Raises:
        ConfigError: If its head judges slides as a whole, it predicts numbers, it has no such class
            or cut its tiles in drawn regions after estimating the stain there.
        FeatureError: If it is not finished or damaged, its resolution is unknown, or the weights
            are not those it was made with.
        MissingError: If weights are missing.
    """
    trained = open_run(Path(run))
    _require_tiles(trained)
    name = tumour_class(trained.classes, positive=trained.card.get("positive"), wanted=tile_class)
    backbone = require_backbone(trained.settings["backbone"])
    source = _weights(trained, backbone, weights, trust)
    if trained.ready_made or mpp is not None:
        trained = _for_slides(trained, mpp)
    strategy = choose_strategy(gpus)
    engine = open_engine(
        backbone,
        source,
        trained.tile_spec.size_px,
        strategy=strategy,
        compute_batch=batch_size,
        precision=str(trained.settings.get("precision", "float32")),
    )
    heads = [_head(folder) for folder in trained.folders]
    return TileScorer(
        predict=_scorer(engine, heads, trained.classes.index(name)),
        spec=trained.tile_spec,
        tile_class=name,
        digests=(*sorted(map(str, trained.digests)), source.sha256),
        stain_norm=str(trained.settings.get("stain_norm", "none")),
        batch_size=engine.block,
    )


def _require_tiles(run: TrainedRun) -> None:
    if run.task != CLASSIFICATION:
        raise ConfigError(
            f"{run.folder.name} predicts a number: a run of classes of tiles is needed."
        )
    if run.card["head"] in BAG_HEADS:
        raise ConfigError(
            f"the head of {run.folder.name}, {run.card['head']}, judges a slide or patient as a "
            "whole, no single tile.",
            hint="Fit one of tiles: `histokeras fit-head --head mlp`, or finetune.",
        )


def _for_slides(run: TrainedRun, mpp: float | None) -> TrainedRun:
    try:
        return for_slides(run, mpp)
    except HistokerasError as error:
        # It knows the option by the name that `predict` has for it.
        message, hint = (
            text.replace("--mpp", "--tile-mpp") for text in (error.message, error.hint)
        )
        raise type(error)(message, code=error.code, hint=hint) from error


def _weights(
    run: TrainedRun, backbone: Backbone, weights: str | None, trust: str | None
) -> WeightsSource:
    source = find_weights(backbone, weights_of(run, weights), trust=trust)
    wanted = run.settings["weights_sha256"]
    if source.sha256 != wanted:
        raise FeatureError(
            f"the weights (sha256 {source.sha256[:12]}...) are not those that the run was made "
            f"with ({wanted[:12]}...).",
            code="WEIGHTS_UNFIT",
            hint="Give the run's own file with --weights PATH.",
        )
    return source


def _head(folder: Path) -> Callable[[Vectors], Vectors]:
    model, card = read_head(folder)
    temperature = float(card.get("temperature", 1.0))

    def probabilities(vectors: Vectors) -> Vectors:
        raw = keras.ops.convert_to_numpy(model(vectors, training=False))
        return temperature_scaled(np.asarray(raw, np.float32), temperature)

    return probabilities


def _scorer(engine: Engine, heads: list[Callable[[Vectors], Vectors]], number: int) -> Score:
    def predict(images: npt.NDArray[np.uint8]) -> Vectors:
        missing = np.zeros((engine.block - len(images), *images.shape[1:]), np.uint8)
        # The heads too see one shape alone: the bits of a tile do not depend on the others.
        vectors = engine.finish(engine.start(np.concatenate([images, missing])))
        parts = np.stack([head(vectors)[: len(images), number] for head in heads])
        return np.asarray(parts.mean(axis=0, dtype=np.float64), np.float32)

    return predict
