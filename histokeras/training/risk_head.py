"""Fit a head of survival on patients, and predict risks with it: the Cox loss."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.clinical_terms import ClinicalColumn, columns_from_json
from histokeras.analysis.concordance import c_index
from histokeras.analysis.metrics import Bools, Floats
from histokeras.analysis.risk_baselines import cox_deviance
from histokeras.models.catalog import BAG_HEADS
from histokeras.models.heads import (
    CLINICAL,
    build_risk_head,
    clinical_part,
    start_clinical,
    takes_clinical,
    tile_part,
)
from histokeras.training.bags import BagVectors, in_bags
from histokeras.training.head import HeadConfig
from histokeras.training.loop import COX, Batch, OnEpoch, Resume, bag_data, fit
from histokeras.training.mil import BAG_TILES, drawn, padded, predict_bags
from histokeras.training.vectors import Matrix, MemoryVectors, Vectors, mean_and_scale
from histokeras.types import ATTENTION, RISK

BATCH_FLOATS = 1 << 26
"""Numbers that the tiles of one step may hold: of many patients fewer tiles each are drawn."""
_FEWEST_TILES = 16
_READ_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Followed:
    """Patients with their tiles and outcomes.

    Attributes:
        bags: The tiles, a bag a patient.
        time: Follow-up of each bag's patient, ``(P,)``.
        event: Whether it ended in the event, ``(P,)``.
        clinical: Clinical terms that the head sees too, ``(P, K)``; None for images alone.
    """

    bags: BagVectors
    time: Floats
    event: Bools
    clinical: Floats | None = None


@dataclass(frozen=True)
class FittedRisk:
    """A trained head of survival.

    Attributes:
        model: Of :func:`histokeras.models.heads.build_risk_head`.
        head: Its name.
        history: One row an epoch.
        mean: Of what the model says of the training patients; risks are told from there.
        sd: Standard deviation of their risks, above 0.
        cut: Median of their risks: above it the risk is high.
        columns: What was learned of the clinical columns that it takes; empty for images alone.
    """

    model: keras.Model
    head: str
    history: pd.DataFrame
    mean: float = 0.0
    sd: float = 1.0
    cut: float = 0.0
    columns: tuple[ClinicalColumn, ...] = ()

    @classmethod
    def of_card(cls, model: keras.Model, card: Mapping[str, Any]) -> "FittedRisk":
        """Return the head that a card describes, without its training curve."""
        mean, sd, cut = (float(card[name]) for name in ("risk_mean", "risk_sd", "risk_cut"))
        columns = columns_from_json(card.get("clinical", ()))
        return cls(model, str(card["head"]), pd.DataFrame(), mean, sd, cut, columns)

    def facts(self) -> dict[str, Any]:
        """Return what the card says of it."""
        facts: dict[str, Any] = {
            "risk_mean": self.mean, "risk_sd": self.sd, "risk_cut": self.cut
        }  # fmt: skip
        if self.columns:
            facts["clinical"] = [column.as_json() for column in self.columns]
            facts["clinical_terms"] = [term for column in self.columns for term in column.terms]
        return facts

    def scores(self, vectors: Vectors) -> dict[str, Matrix]:
        """Return the risk of each tile, and of ``mil`` what it weighs in its patient.

        Args:
            vectors: ``n`` tiles in bags, a bag a patient; one patient where they are in none.
        """
        tiles, _, attention = self.risks(in_bags(vectors))
        return {RISK: tiles} if attention is None else {RISK: tiles, ATTENTION: attention}

    def risks(
        self, bags: BagVectors, clinical: Floats | None = None
    ) -> tuple[Matrix, Floats, Matrix | None]:
        """Return the risks of tiles and of their patients, against the mean of training patients.

        Args:
            bags: ``n`` tiles of ``P`` patients.
            clinical: Terms of the patients, ``(P, K)``, where the head was trained with them.

        Returns:
            Risk of each tile, float32 ``(n, 1)``, with what clinical terms add to its patient's: of
            ``mil`` that of its patient. Risk of each patient, float64 ``(P,)``. Of ``mil`` what
            each tile weighs, float32 ``(n, 1)``, else None.

        Raises:
            ValueError: If the head takes clinical terms and there are none, or the other way round.
        """
        tiles, patients, attention = _said(self.model, self.head, bags, clinical)
        return (
            (tiles - self.mean).astype(np.float32)[:, np.newaxis],
            patients - self.mean,
            None if attention is None else attention[:, np.newaxis],
        )


def fit_risk(
    train: Followed,
    val: Followed,
    config: HeadConfig,
    *,
    start: Floats | None = None,
    resume: Resume | None = None,
    on_epoch: OnEpoch = lambda row: None,
) -> FittedRisk:
    """Train a head on the partial likelihood of ``train``, stopping early on that of ``val``.

    A step sees ``batch_size`` patients, who are each other's risk sets: all, unless there are more.
    Of a patient's tiles those that fit are drawn, others in each epoch; ``linear`` learns from the
    mean of all, which is the same and exact. Clinical terms stand beside the patient's features
    in the last linear layer. They begin at ``start``, as a rule what they tell alone: a few epochs
    of small steps would not bring them there, and what is left to learn is what the image adds.

    Args:
        train: What is learned; some have events.
        val: What decides when to stop; never learned; some have events.
        config: ``batch_size`` is a number of patients; ``class_weight`` does not apply.
        start: First weight of each clinical term in standard deviations of ``train``, ``(K,)``;
            zeros if None.
        resume: Where to go on after an interruption; None to keep no checkpoint.
        on_epoch: Called with the row of each epoch.

    Returns:
        The head with the weights of its best epoch.
    """
    keras.utils.set_random_seed(config.fit.seed)
    n_features = train.bags.n_features
    mean, scale = mean_and_scale(train.bags)
    terms = None if train.clinical is None else train.clinical.astype(np.float32)
    n_clinical = 0 if terms is None else terms.shape[1]
    model = build_risk_head(config.head, n_features, mean=mean, scale=scale, n_clinical=n_clinical)
    if train.clinical is not None:
        _begin(model, train.clinical, start)
    seen = _means(train.bags) if config.head == "linear" else train.bags
    judged = _means(val.bags) if config.head == "linear" else val.bags
    seed, size = config.fit.seed, min(config.fit.batch_size, len(train.time))
    most = max(_FEWEST_TILES, min(BAG_TILES, BATCH_FLOATS // (size * n_features)))
    ranks = _signed_ranks(train.time, train.event)

    def batches(epoch: int) -> Iterator[Batch]:
        # Order depends on (seed, epoch) alone, so that epoch 7 is the same after any history.
        order = np.random.default_rng((seed, epoch)).permutation(len(ranks))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            tiles = [drawn(seen, int(number), (seed, epoch), most) for number in chosen]
            inputs = padded(tiles)
            if terms is not None:
                inputs[CLINICAL] = terms[chosen]
            yield inputs, ranks[chosen], np.ones(len(chosen), np.float32)

    def validate(model: keras.Model) -> dict[str, float]:
        risk = _said(model, config.head, judged, val.clinical)[1]
        return {
            "val_loss": cox_deviance(val.time, val.event, risk),
            "val_c_index": c_index(val.time, val.event, risk),
        }

    steps = math.ceil(len(ranks) / size)
    data = bag_data(batches, steps=steps, n_features=n_features, n_clinical=n_clinical, loss=COX)
    history = fit(model, data, validate, config.fit, loss=COX, resume=resume, on_epoch=on_epoch)
    risk = _said(model, config.head, seen, train.clinical)[1]
    middle, spread = float(risk.mean()), float(risk.std())
    cut = float(np.median(risk - middle))
    return FittedRisk(model, config.head, history, middle, spread or 1.0, cut)


def _begin(model: keras.Model, clinical: Floats, start: Floats | None) -> None:
    """Give a head the moments of its clinical terms and their first weights."""
    mean, spread = clinical.mean(axis=0), clinical.std(axis=0)
    # What all training patients share would be multiplied without measure in another.
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    first = np.zeros_like(mean) if start is None else start
    start_clinical(model, *(part.astype(np.float32) for part in (mean, scale, first)))


def _signed_ranks(time: Floats, event: Bools) -> npt.NDArray[np.float32]:
    """Return ranks from 1, negative where censored: the loss needs the order of times alone."""
    ranks = np.unique(time, return_inverse=True)[1] + 1
    return np.where(event, ranks, -ranks).astype(np.float32)


def _means(bags: BagVectors) -> BagVectors:
    """Return bags of one tile, the mean of each."""
    means = [_mean(bags, positions) for positions in bags.positions]
    single = tuple(np.array([number]) for number in range(len(means)))
    return BagVectors(MemoryVectors(np.stack(means)), single)


def _mean(bags: BagVectors, positions: npt.NDArray[np.int64]) -> Matrix:
    total = np.zeros(bags.n_features)
    for start in range(0, len(positions), _READ_ROWS):
        total += bags.take(positions[start : start + _READ_ROWS]).sum(axis=0, dtype=np.float64)
    return (total / len(positions)).astype(np.float32)


def _said(
    model: keras.Model, head: str, bags: BagVectors, clinical: Floats | None = None
) -> tuple[npt.NDArray[np.float32], Floats, npt.NDArray[np.float32] | None]:
    """Return what a model says of tiles ``(n,)`` and patients ``(P,)``, and the tiles' weights."""
    if takes_clinical(model) != (clinical is not None):
        raise ValueError(
            "`clinical` holds the terms that the head was trained with, and is None for a head of "
            f"images alone. Received: clinical {'missing' if clinical is None else 'given'}"
        )
    tiles, patients, attention = _of_image(model, head, bags)
    if clinical is not None:
        said = clinical_part(model)(clinical.astype(np.float32), training=False)
        added = keras.ops.convert_to_numpy(said)[:, 0]
        patients = patients + added
        for number, positions in enumerate(bags.positions):
            tiles[positions] += added[number]
    return tiles, patients, attention


def _of_image(
    model: keras.Model, head: str, bags: BagVectors
) -> tuple[npt.NDArray[np.float32], Floats, npt.NDArray[np.float32] | None]:
    """Return the same without what clinical terms add."""
    tiles = np.empty(len(bags), np.float32)
    if head in BAG_HEADS:
        of_bags, attention = predict_bags(model, bags)
        for number, positions in enumerate(bags.positions):
            tiles[positions] = of_bags[number, 0]
        return tiles, of_bags[:, 0].astype(np.float64), attention
    of_tiles = tile_part(model)
    for start in range(0, len(bags), _READ_ROWS):
        part = np.arange(start, min(start + _READ_ROWS, len(bags)))
        said = of_tiles(bags.take(part)[np.newaxis], training=False)
        tiles[part] = keras.ops.convert_to_numpy(said)[0, :, 0]
    means = [tiles[positions].mean(dtype=np.float64) for positions in bags.positions]
    return tiles, np.array(means, np.float64), None
