"""What is learned, chosen once: how classes and how numbers are fitted, kept and read again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.baselines import Baselines, baselines_from_json
from histokeras.analysis.evaluate import refuse_positive, require_positive
from histokeras.analysis.number_baselines import NumberBaselines, number_baselines_from_json
from histokeras.cohort.labels import Cohort
from histokeras.features.index import FeatureIndex
from histokeras.models.catalog import BAG_HEADS
from histokeras.training.head import FittedHead, HeadConfig, Labelled, fit_classifier
from histokeras.training.loop import OnEpoch, Resume
from histokeras.training.mil import FittedMil, fit_mil
from histokeras.training.number_head import FittedNumberHead, fit_number
from histokeras.training.number_references import fit_number_baselines
from histokeras.training.references import fit_baselines
from histokeras.training.rows import TileRows
from histokeras.training.vectors import Vectors
from histokeras.types import CLASSIFICATION, REGRESSION

Categories = Mapping[str, Sequence[str]]
AnyBaselines = Baselines | NumberBaselines


class Fitted(Protocol):
    """A trained head of any task."""

    @property
    def model(self) -> keras.Model:
        """The network."""

    @property
    def history(self) -> pd.DataFrame:
        """One row an epoch."""

    def facts(self) -> dict[str, Any]:
        """Return what its card says of it beside what it names."""

    def scores(self, vectors: Vectors) -> dict[str, npt.NDArray[np.float32]]:
        """Return what it says of vectors, float32 ``(n, K)``, by prefix; its own word first.

        A head of bags says of each tile what it says of its bag, and ``attention``, ``(n, 1)``.
        """


@dataclass(frozen=True)
class Task:
    """How one task is done.

    Attributes:
        classes: From a cohort to the number of each class; None where labels are numbers.
        positive: From a cohort and what was asked for to the positive class, if any.
        names: From a cohort and the positive class to what the card names.
        fit: From training and validation tiles, where to resume and whom to tell of epochs, to a
            head.
        fit_baselines: From features and tiles on all sides to the baselines.
        read: From a network and its card to a head.
        read_baselines: From what was written of them to baselines.
    """

    classes: Callable[[Cohort], Mapping[str, int] | None]
    positive: Callable[[Cohort, str | None], str | None]
    names: Callable[[Cohort, str | None], dict[str, Any]]
    fit: Callable[[Labelled, Labelled, Cohort, HeadConfig, Resume | None, OnEpoch], Fitted]
    fit_baselines: Callable[[FeatureIndex, TileRows, Cohort, Categories, int], AnyBaselines]
    read: Callable[[keras.Model, Mapping[str, Any]], Fitted]
    read_baselines: Callable[[Mapping[str, Any]], AnyBaselines]


def _classes(cohort: Cohort) -> Mapping[str, int]:
    return {name: i for i, name in enumerate(cohort.classes)}


def _class_names(cohort: Cohort, positive: str | None) -> dict[str, Any]:
    return {"classes": list(cohort.classes), "positive": positive}


def _number_names(cohort: Cohort, positive: str | None) -> dict[str, Any]:
    return {"task": REGRESSION, "classes": []}


def _no_positive(cohort: Cohort, positive: str | None) -> None:
    refuse_positive(positive)


def _fit_classes(
    train: Labelled,
    val: Labelled,
    cohort: Cohort,
    config: HeadConfig,
    resume: Resume | None,
    on_epoch: OnEpoch,
) -> Fitted:
    if config.head in BAG_HEADS:
        return fit_mil(train, val, cohort.classes, config, resume=resume, on_epoch=on_epoch)
    return fit_classifier(train, val, cohort.classes, config, resume=resume, on_epoch=on_epoch)


def _read_classes(model: keras.Model, card: Mapping[str, Any]) -> Fitted:
    if card["head"] in BAG_HEADS:
        return FittedMil.of_card(model, card)
    return FittedHead.of_card(model, card)


def _fit_number(
    train: Labelled,
    val: Labelled,
    cohort: Cohort,
    config: HeadConfig,
    resume: Resume | None,
    on_epoch: OnEpoch,
) -> Fitted:
    return fit_number(train, val, cohort.target, config, resume=resume, on_epoch=on_epoch)


def _class_baselines(
    index: FeatureIndex, rows: TileRows, cohort: Cohort, categories: Categories, seed: int
) -> Baselines:
    return fit_baselines(index, rows, cohort.classes, categories, seed=seed)


def _number_baselines(
    index: FeatureIndex, rows: TileRows, cohort: Cohort, categories: Categories, seed: int
) -> NumberBaselines:
    return fit_number_baselines(index, rows, cohort.target, categories, key=cohort.key, seed=seed)


TASKS = {
    CLASSIFICATION: Task(
        classes=_classes,
        positive=lambda cohort, positive: require_positive(cohort.classes, positive),
        names=_class_names,
        fit=_fit_classes,
        fit_baselines=_class_baselines,
        read=_read_classes,
        read_baselines=baselines_from_json,
    ),
    REGRESSION: Task(
        classes=lambda cohort: None,
        positive=_no_positive,
        names=_number_names,
        fit=_fit_number,
        fit_baselines=_number_baselines,
        read=FittedNumberHead.of_card,
        read_baselines=number_baselines_from_json,
    ),
}
