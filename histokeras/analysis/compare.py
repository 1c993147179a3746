"""A network beside the simplest things that could have reached its figures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from histokeras.analysis.bootstrap import Estimate, Figures
from histokeras.analysis.metrics import Floats

COMPARED = ("auc", "balanced_accuracy", "accuracy", "f1_macro")
"""The figures in which a network is set against a baseline."""
FLOOR = "floor"
COLOUR = "colour"
FROZEN = "frozen"
POOLED, POOLED_SHARE = "pooled", "pooled-share"
MEAN = "mean"
CONSTANT, CLINICAL, IMAGE = "constant", "clinical", "image"
TITLES = {
    FROZEN: "same network, not fine-tuned",
    POOLED: "linear head, mean over tiles",
    POOLED_SHARE: "linear head, share of tiles",
    "majority": "majority class",
    MEAN: "mean of the training patients",
    CONSTANT: "the same for everyone",
    CLINICAL: "clinical columns alone",
    IMAGE: "same head, image alone",
    COLOUR: "six colour numbers",
    FLOOR: "colour and texture, no network",
    "tumour_type": "tumour type alone",
    "site": "site alone",
}


def asked_first(baselines: Iterable[str]) -> list[str]:
    """Return names of baselines, first what a journal asks for: clinical columns, image alone."""
    return sorted(baselines, key=lambda name: (name != CLINICAL, name != IMAGE))


def difference_figures(network: Figures, baseline: Figures, names: Sequence[str]) -> Figures:
    """Build differences, network minus baseline, on the same patients of every resample: paired.

    Args:
        network: Figures of the network.
        baseline: Those of the baseline on the same units.
        names: Which figures; both have them.

    Returns:
        Figures of these names; each needs what the network's figure needs.

    Raises:
        ValueError: If the two are not of equally many patients, or a name is missing.
    """
    if network.n_patients != baseline.n_patients:
        raise ValueError(
            "a paired difference needs the same patients. Received: "
            f"{network.n_patients} and {baseline.n_patients} patients"
        )
    ours = [network.names.index(name) for name in names]
    theirs = [baseline.names.index(name) for name in names]

    def of_counts(counts: Floats) -> Floats:
        return np.asarray(
            network.of_counts(counts)[:, ours] - baseline.of_counts(counts)[:, theirs]
        )

    return Figures(
        names=tuple(names),
        of_counts=of_counts,
        n_patients=network.n_patients,
        needs=tuple(network.needs[column] for column in ours),
        groups=network.groups,
    )


def baseline_block(
    name: str,
    estimates: Mapping[str, Estimate],
    differences: Mapping[str, Estimate],
    compared: Sequence[str] = COMPARED,
) -> dict[str, Any]:
    """Return a baseline's title, figures and differences as plain values.

    Args:
        name: Name of the baseline; one without a title in ``TITLES`` bears its name.
        estimates: Its own figures.
        differences: Network minus baseline.
        compared: Names of the figures that are shown.
    """
    return {
        "title": TITLES.get(name, name),
        **{figure: estimates[figure].as_json() for figure in compared},
        "difference": {figure: differences[figure].as_json() for figure in compared},
    }
