"""How well features tell the site of a patient: what a network could learn in place of the label.

Sites stain and scan in their own way, and features keep it (Howard et al. 2021,
doi:10.1038/s41467-021-24698-1). The probe is of the features, and not of what was learned on them.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from histokeras.analysis.bootstrap import N_RESAMPLES, Figures, patient_bootstrap
from histokeras.analysis.metrics import (
    AnyFloats,
    AnyInts,
    Bools,
    Floats,
    Ints,
    divide,
    mean_of_defined,
    predicted_classes,
)
from histokeras.analysis.site_labels import label_association

FOLDS = 5
FEWEST = FOLDS
"""Patients that a site must have, so that each fold holds one."""
COMPONENTS = 64
_ITERATIONS = 300
_AUC, _WITHIN, _BALANCED, _ACCURACY = "auc", "auc_within_label", "balanced_accuracy", "accuracy"


def probe_sites(
    means: AnyFloats,
    sites: Sequence[str],
    labels: Sequence[str] | Floats,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Predict the site of patients whom the prediction has not seen, from their mean features.

    In each of five folds, stratified by site: standardised features, at most 64 principal
    components, multinomial logistic regression in which each site weighs the same; all of it
    learned on the other four folds.

    Args:
        means: Mean feature vector of each patient, ``(P, D)``; patients in the order of their ids.
        sites: Site of each patient, "" where unknown.
        labels: Label of each patient, "" where unknown or not one; or numbers, NaN where unknown.
        n_resamples: Resamples of patients behind each interval. They tell how much the figures
            rest on these patients; predictions are not made anew.
        seed: Of folds and resamples.

    Returns:
        Plain values. ``computed`` False with a ``reason``, where there are no two sites of at least
        ``FEWEST`` patients. Else ``auc`` (mean over sites of the area of one site against all
        others), ``auc_within_label`` (of these comparisons only those of patients with one label;
        not for numbers), ``balanced_accuracy`` with its ``chance``, ``accuracy`` with the share of
        the ``largest`` site, each of the four an Estimate; how many patients and sites were used
        and left out; ``label``, how the label goes with the site; and ``sites``, one entry each.
    """
    names = np.array(sites, object)
    counts = Counter(name for name in sites if name)
    used_sites = sorted(name for name, count in counts.items() if count >= FEWEST)
    left_out = {
        "fewest": FEWEST,
        "n_without_site": int((names == "").sum()),
        "n_small_sites": len(counts) - len(used_sites),
        "n_in_small_sites": sum(n for n in counts.values() if n < FEWEST),
    }
    if len(used_sites) < 2:
        return {"computed": False, "reason": _reason(counts), **left_out}
    used = np.isin(names, used_sites)
    targets = np.searchsorted(used_sites, names[used].astype(str))
    known = np.asarray(labels)[used]
    scores = _scores(_reduced(means[used], targets, seed), targets)
    figures = site_figures(targets, scores, None if known.dtype.kind == "f" else known)
    estimates = patient_bootstrap(figures, n_resamples=n_resamples, seed=seed)
    areas = _areas(targets, scores, None)(np.ones((1, len(targets))))[0]
    sizes = np.bincount(targets)
    association, by_site = label_association(targets, known, len(used_sites))
    return {
        "computed": True,
        **{name: estimate.as_json() for name, estimate in estimates.items()},
        "chance": 1 / len(used_sites),
        "largest": float(sizes.max() / len(targets)),
        "n_sites": len(used_sites),
        "n_patients": len(targets),
        **left_out,
        "folds": FOLDS,
        "n_resamples": n_resamples,
        "label": association,
        "sites": {
            name: {"n": int(sizes[k]), "auc": float(areas[k]), **by_site[k]}
            for k, name in enumerate(used_sites)
        },
    }


def _reason(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return f"all patients whose site is known are of one site, {next(iter(counts))}"
    return f"it takes two sites of at least {FEWEST} patients each"


@dataclass(frozen=True, eq=False)
class _Fold:
    """Patients of a fold and of the others, and their reduced features."""

    train: Ints
    test: Ints
    inside: Floats
    outside: Floats


def _reduced(means: AnyFloats, targets: AnyInts, seed: int) -> list[_Fold]:
    """Return five folds, even in each site, with components learned on the other four."""
    made = []
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(means, targets):
        scaler = StandardScaler().fit(means[train])
        standard = scaler.transform(means[train])
        wanted = min(COMPONENTS, len(train) - 1, means.shape[1])
        pca = PCA(wanted, random_state=seed).fit(standard)
        inside, outside = pca.transform(standard), pca.transform(scaler.transform(means[test]))
        # One scale for all, so that the penalty means the same for 8 features and for 2,048.
        scale = np.sqrt(np.square(inside).mean()) or 1.0
        made.append(_Fold(train, test, inside / scale, outside / scale))
    return made


def _scores(folds: Sequence[_Fold], targets: AnyInts) -> Floats:
    """Return the probabilities of the sites, ``(P, K)``, by models that saw the other folds."""
    scores = np.zeros((len(targets), int(targets.max()) + 1))
    for fold in folds:
        model = LogisticRegression(class_weight="balanced", max_iter=_ITERATIONS)
        with warnings.catch_warnings():
            # A model that stopped a little early still ranks.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(fold.inside, targets[fold.train])
        scores[fold.test] = model.predict_proba(fold.outside)
    return scores


def site_figures(
    targets: AnyInts, scores: Floats, labels: npt.NDArray[Any] | None = None
) -> Figures:
    """Build the figures of the probe as functions of how often each patient was drawn.

    Args:
        targets: Site numbers ``(P,)``, one row a patient.
        scores: ``(P, K)``.
        labels: Label of each patient, "" where unknown; None leaves out ``auc_within_label``.

    Returns:
        ``auc`` and ``balanced_accuracy``, means over the sites that a resample holds, and
        ``accuracy``.
    """
    n_patients, n_sites = scores.shape
    areas = [_areas(targets, scores, None)]
    names = [_AUC]
    if labels is not None:
        areas.append(_areas(targets, scores, labels))
        names.append(_WITHIN)
    member = np.eye(n_sites)[targets]
    right = (predicted_classes(scores) == targets).astype(np.float64)

    def of_counts(counts: Floats) -> Floats:
        recalls = divide(counts @ (member * right[:, np.newaxis]), counts @ member)
        return np.column_stack(
            [
                *(mean_of_defined(area(counts)) for area in areas),
                mean_of_defined(recalls),
                divide(counts @ right, counts.sum(axis=1)),
            ]
        )

    names += [_BALANCED, _ACCURACY]
    return Figures(tuple(names), of_counts, n_patients, ((),) * len(names), {})


def _areas(
    targets: AnyInts, scores: Floats, labels: npt.NDArray[Any] | None
) -> Callable[[Floats], Floats]:
    """Return a function from counts ``(b, P)`` to the area of each site, ``(b, K)``.

    With labels only pairs of patients of one label are compared. One site's pairs are held at a
    time: all of them would be ``P`` times ``P``.
    """

    def areas(counts: Floats) -> Floats:
        found = np.empty((len(counts), scores.shape[1]))
        # Twice the wins are whole numbers: single precision holds their sums exactly.
        drawn = counts.astype(np.float32)
        for k in range(scores.shape[1]):
            members = np.flatnonzero(targets == k)
            compared = _compared(members, targets != k, labels)
            mine, others = scores[members, k][:, np.newaxis], scores[:, k]
            wins = 2.0 * (mine > others) + (mine == others)
            own = counts[:, members]
            won = drawn @ np.where(compared, wins, 0).astype(np.float32).T
            pairs = drawn @ compared.astype(np.float32).T
            found[:, k] = divide((own * won).sum(axis=1), 2 * (own * pairs).sum(axis=1))
        return found

    return areas


def _compared(members: Ints, outside: Bools, labels: npt.NDArray[Any] | None) -> Bools:
    """Return which patients each member of a site is compared with, ``(n, P)``."""
    pairs = np.broadcast_to(outside, (len(members), len(outside)))
    if labels is None:
        return pairs
    same = labels[members][:, np.newaxis] == labels
    return np.asarray(pairs & same & (labels != ""), np.bool_)
