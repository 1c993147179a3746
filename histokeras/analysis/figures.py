"""The figures of one level as functions of patient counts, ready for the bootstrap."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from histokeras.analysis.bootstrap import Figures, join_figures
from histokeras.analysis.calibration import calibration_figures
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
from histokeras.analysis.ranking import average_precision, rank, sensitivity_at

SPECIFICITY = 0.9
"""At which the sensitivity is given, unless another is chosen."""

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
    specificity: float = SPECIFICITY,
    calibrated: bool = False,
) -> Figures:
    """Build all classification figures of one level.

    Args:
        targets: Class numbers, shape ``(n,)``, in ``0..K-1``.
        scores: Shape ``(n, K)``: probabilities, or shares of tiles.
        patients: Patient numbers, shape ``(n,)``, in ``0..P-1``, every one of them in use.
        classes: Names of the ``K`` classes, in the order of the columns.
        positive: Of two classes the positive one; AUC, PR-AUC and sensitivity are then given for
            it alone.
        specificity: At which the sensitivity is taken, in (0, 1).
        calibrated: Whether the scores are meant as probabilities.

    Returns:
        The figures of :func:`headline_figures`; ``pr_auc`` (the positive class's, else the mean
        over the classes that occur), ``pr_auc/<class>`` and ``sensitivity/<class>``, which need a
        unit of the class and one of another; with ``calibrated`` also ``brier`` and ``ece``.

    Raises:
        ValueError: If shapes or numbers do not fit, or a score is not finite.
    """
    parts = [
        headline_figures(targets, scores, patients, classes, positive=positive),
        _ranking_figures(targets, scores, patients, classes, positive, specificity),
    ]
    if calibrated:
        parts.append(calibration_figures(targets, scores, patients, parts[0].n_patients))
    return join_figures(*parts)


def headline_figures(
    targets: AnyInts,
    scores: AnyFloats,
    patients: AnyInts,
    classes: Sequence[str],
    *,
    positive: str | None = None,
) -> Figures:
    """Build the figures in which a network is compared with a baseline: quick ones.

    Args:
        targets: Class numbers, shape ``(n,)``, in ``0..K-1``.
        scores: Shape ``(n, K)``, finite; the largest of a row is the prediction.
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
    ranked = ranked_classes(classes, positive)
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

    groups = class_groups(targets, patients, classes, n_patients)
    mean, *versus = _rank_needs(groups, classes, positive)
    all_classes = tuple(_only(classes, k) for k in _occurring(groups, classes))
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
            mean,
            *versus,
            all_classes,
            (),
            all_classes,
            *((_only(classes, k),) for k in range(len(classes))),
        ),
        groups=groups,
    )


def _ranking_figures(
    targets: AnyInts,
    scores: AnyFloats,
    patients: AnyInts,
    classes: Sequence[str],
    positive: str | None,
    specificity: float,
) -> Figures:
    n_patients = int(patients.max()) + 1 if len(patients) else 0
    numbers = ranked_classes(classes, positive)
    rankings = [rank(targets == k, scores[:, k], patients, n_patients) for k in numbers]

    def measure(tp: Floats, fp: Floats) -> Floats:
        return np.column_stack([average_precision(tp, fp), sensitivity_at(tp, fp, specificity)])

    def of_counts(counts: Floats) -> Floats:
        values = np.stack([ranked.each(counts, measure) for ranked in rankings])
        areas, sensitivities = values[..., 0].T, values[..., 1].T
        return np.column_stack([mean_of_defined(areas), areas, sensitivities])

    groups = class_groups(targets, patients, classes, n_patients)
    mean, *versus = _rank_needs(groups, classes, positive)
    return Figures(
        names=(
            "pr_auc",
            *(f"pr_auc/{classes[k]}" for k in numbers),
            *(f"sensitivity/{classes[k]}" for k in numbers),
        ),
        of_counts=of_counts,
        n_patients=n_patients,
        needs=(mean, *versus, *versus),
        groups=groups,
    )


def ranked_classes(classes: Sequence[str], positive: str | None) -> list[int]:
    """Return the numbers of the classes that are set against the others: one, or all."""
    return [classes.index(positive)] if positive is not None else list(range(len(classes)))


def sides_of(classes: Sequence[str], k: int) -> tuple[str, str]:
    """Return the names of the two groups that a ranking for class ``k`` needs."""
    return _only(classes, k), _rest(classes, k)


def _rank_needs(
    groups: Mapping[str, Bools], classes: Sequence[str], positive: str | None
) -> list[tuple[str, ...]]:
    """Return the groups that the mean over the rankings needs, then those of every ranking."""
    versus: list[tuple[str, ...]] = [
        sides_of(classes, k) for k in ranked_classes(classes, positive)
    ]
    # Classes that occur nowhere are in no resample either: nothing can wait for them.
    occurring = _occurring(groups, classes)
    if positive is not None or len(occurring) < 2:
        return [versus[0], *versus]
    return [tuple(_only(classes, k) for k in occurring), *versus]


def _occurring(groups: Mapping[str, Bools], classes: Sequence[str]) -> list[int]:
    return [k for k in range(len(classes)) if groups[_only(classes, k)].any()]


def _only(classes: Sequence[str], k: int) -> str:
    return f"class {classes[k]}"


def _rest(classes: Sequence[str], k: int) -> str:
    if len(classes) == 2:
        return _only(classes, 1 - k)
    return f"classes other than {classes[k]}"


def class_groups(
    targets: AnyInts, patients: AnyInts, classes: Sequence[str], n_patients: int
) -> dict[str, Bools]:
    """Return which patients hold a unit of every class, and of any other class.

    Args:
        targets: Class numbers, shape ``(n,)``.
        patients: Patient numbers, shape ``(n,)``, in ``0..P-1``.
        classes: Names of the ``K`` classes.
        n_patients: Number of patients, ``P``.

    Returns:
        Name of a group -> shape ``(P,)``, bool.
    """
    held = np.zeros((n_patients, len(classes)), dtype=np.bool_)
    held[patients, targets] = True
    rest = [np.delete(held, k, axis=1).max(axis=1, initial=False) for k in range(len(classes))]
    groups: dict[str, Bools] = {_rest(classes, k): members for k, members in enumerate(rest)}
    return groups | {_only(classes, k): held[:, k] for k in range(len(classes))}
