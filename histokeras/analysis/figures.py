"""The figures of one level as functions of patient counts, ready for the bootstrap."""

from collections.abc import Callable, Sequence

import numpy as np

from histokeras.analysis.bootstrap import Figures
from histokeras.analysis.metrics import (
    AnyFloats,
    AnyInts,
    Bools,
    Floats,
    accuracy,
    balanced_accuracy,
    divide,
    f1_per_class,
    grouped_confusion,
    macro_f1,
    mean_of_defined,
    predicted_classes,
    sorted_auc,
    tie_groups,
)

PAIRS_UP_TO_PATIENTS = 1024
"""Up to here a matrix of patient pairs is faster than one pass over the units a resample."""


def pair_wins(positive: Bools, scores: AnyFloats, patients: AnyInts, n_patients: int) -> Floats:
    """Count, for every pair of patients, how often a positive of one beats a negative of the other.

    The AUC of any resample then is ``c @ wins @ c`` over its number of pairs, ``c`` being how often
    every patient was drawn: the units themselves are not needed any more.

    Args:
        positive: Which units are positive, shape ``(n,)``.
        scores: Shape ``(n,)``, finite. Equal scores count one half.
        patients: Patient numbers, shape ``(n,)``, in ``0..P-1``.
        n_patients: Number of patients, ``P``.

    Returns:
        Shape ``(P, P)``, float64: row the positive's patient, column the negative's. Exact.

    Raises:
        ValueError: If the lengths differ or a score is not finite.
    """
    order, starts = tie_groups(positive, scores)
    group = np.zeros(len(order), dtype=np.int64)
    group[starts] = 1
    group = np.cumsum(group) - 1
    is_positive, patient = positive[order], patients[order]
    group_of_positive, patient_of_positive = group[is_positive], patient[is_positive]
    group_of_negative, patient_of_negative = group[~is_positive], patient[~is_positive]
    wins = np.zeros((n_patients, n_patients))
    for loser in np.unique(patient_of_negative):
        mine = group_of_negative[patient_of_negative == loser]
        equal = np.bincount(mine, minlength=len(starts))
        beaten = np.cumsum(equal) - equal / 2
        wins[:, loser] = np.bincount(
            patient_of_positive, weights=beaten[group_of_positive], minlength=n_patients
        )
    return wins


def auc_of_counts(
    positive: Bools, scores: AnyFloats, patients: AnyInts, n_patients: int
) -> Callable[[Floats], Floats]:
    """Return a function from patient counts ``(b, P)`` to the AUC of each resample, ``(b,)``.

    Both ways that it may go give the same exact quotients.

    Args:
        positive: Which units are positive, shape ``(n,)``.
        scores: Shape ``(n,)``, finite.
        patients: Patient numbers, shape ``(n,)``, in ``0..P-1``.
        n_patients: Number of patients, ``P``.

    Raises:
        ValueError: If the lengths differ or a score is not finite.
    """
    if n_patients > PAIRS_UP_TO_PATIENTS:
        return _auc_by_weights(positive, scores, patients)
    wins = pair_wins(positive, scores, patients, n_patients)
    n_positive = np.bincount(patients[positive], minlength=n_patients).astype(np.float64)
    n_negative = np.bincount(patients[~positive], minlength=n_patients).astype(np.float64)

    def areas(counts: Floats) -> Floats:
        won = ((counts @ wins) * counts).sum(axis=1)
        return divide(won, (counts @ n_positive) * (counts @ n_negative))

    return areas


def _auc_by_weights(
    positive: Bools, scores: AnyFloats, patients: AnyInts
) -> Callable[[Floats], Floats]:
    order, starts = tie_groups(positive, scores)
    is_positive, patient = positive[order], patients[order]

    def areas(counts: Floats) -> Floats:
        return np.array([sorted_auc(is_positive, row[patient], starts) for row in counts])

    return areas


def level_figures(
    targets: AnyInts,
    scores: AnyFloats,
    patients: AnyInts,
    classes: Sequence[str],
    *,
    positive: str | None = None,
) -> Figures:
    """Build all classification figures of one level.

    Args:
        targets: Class numbers, shape ``(n,)``, in ``0..K-1``.
        scores: Shape ``(n, K)``: probabilities, or shares of tiles.
        patients: Patient numbers, shape ``(n,)``, in ``0..P-1``, every one of them in use.
        classes: Names of the ``K`` classes, in the order of the columns.
        positive: Of two classes the positive one; the AUC is then given for it alone.

    Returns:
        Figures named ``auc`` (the positive class's, else the mean over the classes that occur),
        ``auc/<class>``, ``balanced_accuracy``, ``accuracy``, ``f1_macro`` and ``f1/<class>``.

    Raises:
        ValueError: If shapes or numbers do not fit, or a score is not finite.
    """
    n_patients = int(patients.max()) + 1 if len(patients) else 0
    confusion = grouped_confusion(
        targets, predicted_classes(scores), patients, len(classes), n_patients
    )
    ranked = [classes.index(positive)] if positive is not None else list(range(len(classes)))
    areas = [auc_of_counts(targets == k, scores[:, k], patients, n_patients) for k in ranked]
    cells = confusion.reshape(n_patients, -1)

    def of_counts(counts: Floats) -> Floats:
        matrices = (counts @ cells).reshape(-1, len(classes), len(classes))
        aucs = np.column_stack([area(counts) for area in areas])
        return np.column_stack(
            [
                mean_of_defined(aucs),
                aucs,
                balanced_accuracy(matrices),
                accuracy(matrices),
                macro_f1(matrices),
                f1_per_class(matrices),
            ]
        )

    groups = _groups(confusion, classes)
    # Classes that occur nowhere are in no resample either: nothing can wait for them.
    occurring = [k for k in range(len(classes)) if groups[_only(classes, k)].any()]
    all_classes = tuple(_only(classes, k) for k in occurring)
    versus = [(_only(classes, k), _rest(classes, k)) for k in ranked]
    one_class = all_classes if len(occurring) > 1 else versus[0]
    return Figures(
        names=(
            "auc",
            *(f"auc/{classes[k]}" for k in ranked),
            "balanced_accuracy",
            "accuracy",
            "f1_macro",
            *(f"f1/{name}" for name in classes),
        ),
        of_counts=of_counts,
        n_patients=n_patients,
        needs=(
            versus[0] if positive is not None else one_class,
            *versus,
            all_classes,
            (),
            all_classes,
            *((_only(classes, k),) for k in range(len(classes))),
        ),
        groups=groups,
    )


def _only(classes: Sequence[str], k: int) -> str:
    return f"class {classes[k]}"


def _rest(classes: Sequence[str], k: int) -> str:
    if len(classes) == 2:
        return _only(classes, 1 - k)
    return f"classes other than {classes[k]}"


def _groups(confusion: Floats, classes: Sequence[str]) -> dict[str, Bools]:
    """Return which patients hold a unit of every class, and of any other class."""
    units = confusion.sum(axis=2)
    groups = {
        _rest(classes, k): np.delete(units, k, axis=1).any(axis=1) for k in range(len(classes))
    }
    return groups | {_only(classes, k): units[:, k] > 0 for k in range(len(classes))}
