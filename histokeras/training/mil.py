"""Fit a head of bags, and predict with it: attention over all tiles of a slide or patient."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.baselines import RAW
from histokeras.analysis.calibration import fit_temperature, temperature_scaled
from histokeras.models.heads import FEATURES, MASK, bag_parts, build_head
from histokeras.training.bags import BagVectors, in_bags
from histokeras.training.head import (
    HeadConfig,
    Labelled,
    class_weights,
    require_classes,
    validation_figures,
)
from histokeras.training.loop import Batch, OnEpoch, Resume, bag_data, fit
from histokeras.training.vectors import Matrix, Vectors, mean_and_scale
from histokeras.types import ATTENTION, PROB

BAG_TILES = 2048
"""While training, a larger bag is this many of its tiles, others in each epoch. Never at
prediction."""
_READ_ROWS = 4096


@dataclass(frozen=True)
class FittedMil:
    """A trained head of bags.

    Attributes:
        model: ``mil`` of :func:`histokeras.models.heads.build_head`.
        classes: The class of each output, sorted.
        history: One row an epoch.
        temperature: Divides the logarithms of a bag's probabilities; fitted on the bags of val.
        temperature_note: Why it was left at 1; "" if it was fitted.
    """

    model: keras.Model
    classes: tuple[str, ...]
    history: pd.DataFrame
    temperature: float = 1.0
    temperature_note: str = ""

    @classmethod
    def of_card(cls, model: keras.Model, card: Mapping[str, Any]) -> "FittedMil":
        """Return the head that a card describes, without its training curve."""
        temperature = float(card.get("temperature", 1.0))
        note = str(card.get("temperature_note", ""))
        return cls(model, tuple(card["classes"]), pd.DataFrame(), temperature, note)

    def facts(self) -> dict[str, Any]:
        """Return what the card says of it beside its classes."""
        return {"temperature": self.temperature, "temperature_note": self.temperature_note}

    def scores(self, vectors: Vectors) -> dict[str, Matrix]:
        """Return what each tile's bag got, and what the tile weighs in it.

        Args:
            vectors: ``n`` tiles in bags; one bag where they are in none.

        Returns:
            The bag's calibrated and raw probabilities, float32 ``(n, n_classes)``, the same for
            each of its tiles; ``attention``, float32 ``(n, 1)``, which sums to 1 over a bag.
        """
        bags = in_bags(vectors)
        of_bags, attention = predict_bags(self.model, bags)
        raw = np.empty((len(bags), len(self.classes)), np.float32)
        for number, positions in enumerate(bags.positions):
            raw[positions] = of_bags[number]
        calibrated = temperature_scaled(raw, self.temperature)
        return {PROB: calibrated, RAW: raw, ATTENTION: attention[:, None]}


def fit_mil(
    train: Labelled,
    val: Labelled,
    classes: Sequence[str],
    config: HeadConfig,
    *,
    resume: Resume | None = None,
    on_epoch: OnEpoch = lambda row: None,
) -> FittedMil:
    """Train a head of bags on ``train``, stopping early on the loss of the bags of ``val``.

    Args:
        train: Tiles in bags (:class:`BagVectors`) whose tiles share their target.
        val: What decides when to stop; never learned.
        classes: Names of the classes, in the order of their numbers.
        config: Class weights are of bags, and ``batch_size`` is a number of bags.
        resume: Where to go on after an interruption; None to keep no checkpoint.
        on_epoch: Called with the row of each epoch.

    Returns:
        The head with the weights of its best epoch, its temperature fitted on the bags of ``val``.

    Raises:
        TableError: If a class has no training bag, or there is no validation bag.
    """
    bags, val_bags = in_bags(train.vectors), in_bags(val.vectors)
    targets, val_targets = _of_bags(train, bags), _of_bags(val, val_bags)
    counts = require_classes(targets, val_targets, classes, "bags")
    keras.utils.set_random_seed(config.fit.seed)
    mean, scale = mean_and_scale(bags)
    model = build_head(config.head, bags.n_features, len(classes), mean=mean, scale=scale)
    weight = np.ones(len(classes), np.float32)
    if config.class_weight == "balanced":
        weight = class_weights(counts)
    seed, size = config.fit.seed, config.fit.batch_size

    def batches(epoch: int) -> Iterator[Batch]:
        # Order depends on (seed, epoch) alone, so that epoch 7 is the same after any history.
        order = np.random.default_rng((seed, epoch)).permutation(len(targets))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            tiles = [drawn(bags, int(number), (seed, epoch)) for number in chosen]
            yield padded(tiles), targets[chosen], weight[targets[chosen]]

    def validate(model: keras.Model) -> dict[str, float]:
        probabilities, _ = predict_bags(model, val_bags)
        return validation_figures(val_targets, probabilities, weight)

    steps = math.ceil(len(targets) / size)
    data = bag_data(batches, steps=steps, n_features=bags.n_features)
    history = fit(model, data, validate, config.fit, resume=resume, on_epoch=on_epoch)
    raw, _ = predict_bags(model, val_bags)
    found = fit_temperature(val_targets, raw)
    return FittedMil(model, tuple(classes), history, found.value, found.note)


def _of_bags(labelled: Labelled, bags: BagVectors) -> npt.NDArray[np.int32]:
    firsts = [positions[0] for positions in bags.positions]
    return np.asarray(labelled.targets[firsts], np.int32)


def drawn(bags: BagVectors, number: int, seed: tuple[int, int], most: int | None = None) -> Matrix:
    """Return the tiles of a bag that an epoch learns from.

    Args:
        bags: The bags.
        number: Of the bag.
        seed: Of the training, and the epoch.
        most: How many tiles at most; 2,048 if None.
    """
    positions, most = bags.positions[number], most or BAG_TILES
    if len(positions) > most:
        # Of the epoch and the bag alone: neither order nor history changes what is drawn.
        rng = np.random.default_rng((*seed, number))
        positions = np.sort(rng.choice(positions, most, replace=False))
    return bags.take(positions)


def padded(bags: Sequence[Matrix]) -> dict[str, npt.NDArray[Any]]:
    """Return bags as one batch, as large as the largest.

    Args:
        bags: Vectors of the tiles of each, ``(n_tiles, n_features)``.

    Returns:
        ``features`` float32 ``(b, n, n_features)``, zeros behind the tiles, and ``mask`` bool
        ``(b, n)``, false there.
    """
    longest = max(len(bag) for bag in bags)
    features = np.zeros((len(bags), longest, bags[0].shape[1]), np.float32)
    mask = np.zeros((len(bags), longest), np.bool_)
    for number, bag in enumerate(bags):
        features[number, : len(bag)] = bag
        mask[number, : len(bag)] = True
    return {FEATURES: features, MASK: mask}


def predict_bags(model: keras.Model, bags: BagVectors) -> tuple[Matrix, npt.NDArray[np.float32]]:
    """Return what a head says of bags, each with all its tiles.

    One bag after the other, in pieces of 4,096 tiles that begin with the bag: what is said of one
    does not depend on the others, and of a large one only embeddings are held.

    Args:
        model: ``mil`` of :func:`histokeras.models.heads.build_head`, or of ``build_risk_head``.
        bags: ``n`` tiles.

    Returns:
        Probabilities (or risks), float32 ``(n_bags, n_outputs)``; attention of each tile, ``(n,)``.
    """
    of_tiles, of_bag = bag_parts(model)
    probabilities = np.empty((len(bags.positions), model.output_shape[-1]), np.float32)
    attention = np.empty(len(bags), np.float32)
    for number, positions in enumerate(bags.positions):
        pieces = [
            of_tiles(bags.take(positions[start : start + _READ_ROWS])[None], training=False)
            for start in range(0, len(positions), _READ_ROWS)
        ]
        h, score = (keras.ops.concatenate(part, axis=1) for part in zip(*pieces, strict=True))
        mask = keras.ops.ones((1, len(positions)), "bool")
        shares, said = of_bag([h, score, mask], training=False)
        attention[positions] = keras.ops.convert_to_numpy(shares)[0]
        probabilities[number] = keras.ops.convert_to_numpy(said)[0]
    return probabilities, attention
