"""A finished run as one Keras network: from the pixels of a tile to the logits of its classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from histokeras.errors import ConfigError, FeatureError
from histokeras.models.backbones import build_backbone, preprocess
from histokeras.models.catalog import BAG_HEADS, STAIN_TEXTURE, Backbone, require_backbone
from histokeras.models.model_file import read_head
from histokeras.models.weights import WeightsSource, find_weights
from histokeras.tiles.grid import TileSpec
from histokeras.training.trained_run import TrainedRun, open_run, weights_of
from histokeras.types import CLASSIFICATION

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Classifier:
    """Backbone and head (or heads) of a run in one network.

    Attributes:
        model: Preprocessed images, float32 (n, size_px, size_px, 3), to logits, float32
            (n, n_classes): with several heads the mean of theirs. The layers of the backbone are
            its own layers, so that any of their maps can be asked for.
        scorer: The same images to logits and calibrated probabilities.
        backbone: Which network.
        run: Classes, how its tiles were made, digests of its heads.
        weights: Those of the backbone.
        cards: The card of each head, with its temperature.
    """

    model: keras.Model
    scorer: keras.Model
    backbone: Backbone
    run: TrainedRun
    weights: WeightsSource
    cards: tuple[Mapping[str, Any], ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of the logits."""
        return self.run.classes

    @property
    def size_px(self) -> int:
        """Side of a tile in pixels."""
        return self.tile_spec.size_px

    @property
    def tile_spec(self) -> TileSpec:
        """How the run's slides were cut."""
        return self.run.tile_spec

    def number(self, name: str) -> int:
        """Return the number of a class.

        Raises:
            ConfigError: If there is no such class.
        """
        if name not in self.classes:
            raise ConfigError(
                f"`class` must be one of {', '.join(self.classes)}. Received: class={name!r}"
            )
        return self.classes.index(name)

    def preprocess(self, images: npt.NDArray[Any]) -> Floats:
        """Return RGB images of 0..255, (n, h, w, 3), as ``model`` takes them, float32."""
        # A copy: some of Keras' preprocessing works in place.
        return np.asarray(preprocess(self.backbone, np.array(images, np.float32)), np.float32)

    def score(self, images: Images) -> tuple[Floats, Floats]:
        """Return logits and calibrated probabilities, each float32 (n, n_classes).

        Args:
            images: uint8 (n, size_px, size_px, 3), RGB.
        """
        parts = [
            self.scorer(self.preprocess(images[start : start + _BATCH]), training=False)
            for start in range(0, len(images), _BATCH)
        ]
        logits, probabilities = (
            np.concatenate([keras.ops.convert_to_numpy(part[i]) for part in parts])
            for i in range(2)
        )
        return logits, probabilities


def open_classifier(
    run: Path, weights: str | None = None, *, trust: str | None = None
) -> Classifier:
    """Build the network of a finished run.

    It computes in float32, also where features were extracted in mixed precision: gradients of
    float16 vanish.

    Args:
        run: What ``fit-head -o`` was given.
        weights: Path of the weights file, if the run used one.
        trust: SHA-256 of a whole model whose weights may be taken.

    Raises:
        ConfigError: If the run has no network (stain-texture).
        FeatureError: If the run is not finished or damaged, or the weights are not those it was
            made with.
        MissingError: If weights are missing.
    """
    trained = open_run(run)
    if trained.task != CLASSIFICATION:
        raise ConfigError(f"{run} predicts a number: only classes are explained.")
    _require_network(trained)
    named = weights_of(trained, weights)
    backbone = require_backbone(trained.settings["backbone"])
    source = find_weights(backbone, named, trust=trust)
    wanted = trained.settings["weights_sha256"]
    if source.sha256 != wanted:
        raise FeatureError(
            f"the weights (sha256 {source.sha256[:12]}...) are not those that the run was made "
            f"with ({wanted[:12]}...).",
            code="WEIGHTS_UNFIT",
            hint="Give the run's own file with --weights PATH.",
        )
    network = build_backbone(backbone, source, trained.tile_spec.size_px)
    heads = [read_head(folder) for folder in trained.folders]
    logits, probabilities = [], []
    for number, (head, card) in enumerate(heads):
        twin = _logits_of(head, f"head_{number}")
        twin.trainable = False
        logits.append(twin(network.output))
        heat = 1 / float(card.get("temperature", 1.0))
        cooled = keras.layers.Rescaling(heat, name=f"temperature_{number}")(logits[-1])
        probabilities.append(keras.layers.Softmax(name=f"probabilities_{number}")(cooled))
    # As `predict` does: probabilities are averaged after each head's own temperature.
    model = keras.Model(network.inputs[0], _mean(logits, "logits"), name="classifier")
    mean = _mean(probabilities, "mean_probabilities")
    scorer = keras.Model(network.inputs[0], [model.output, mean])
    cards = tuple(card for _, card in heads)
    return Classifier(model, scorer, backbone, trained, source, cards)


def _require_network(run: TrainedRun) -> None:
    if run.card["head"] in BAG_HEADS:
        raise ConfigError(
            f"the head of this run, {run.card['head']}, judges a slide or patient as a whole: no "
            "single tile is explained.",
            hint="`histokeras heatmap RUN SLIDES --of attention` shows what each tile weighs.",
        )
    if run.settings.get("backbone") == STAIN_TEXTURE.name:
        raise ConfigError(
            "this run stands on stain-texture, plain numbers of colour and texture: there is no "
            "network whose maps could be shown.",
            code="NO_NETWORK",
            hint="Fit a head on features of one, such as `extract-features --backbone mini`.",
        )


def _logits_of(head: keras.Model, name: str) -> keras.Model:
    """Return a head without its softmax, whose gradient vanishes where it is sure."""
    return keras.Model(head.inputs[0], head.get_layer("logits").output, name=name)


def _mean(parts: list[keras.KerasTensor], name: str) -> keras.KerasTensor:
    return parts[0] if len(parts) == 1 else keras.layers.Average(name=name)(parts)
