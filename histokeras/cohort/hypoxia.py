"""From a hypoxia score to a label: the rules, fitted on some patients and applied to others.

A tumour is hypoxic if its score lies above the median of its group. Scaling keeps that: neither
z-scores nor the largest distance move the zero. Min-max scaling would, and is not offered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.errors import ConfigError, TableError
from histokeras.types import LABEL

HYPOXIC, NON_HYPOXIC = "hypoxic", "non-hypoxic"
BY_TYPE, POOLED, SIGN, CUTOFF = "tumour-type", "pooled", "sign", "cutoff"
TIES = ("zero", "drop")
SCORE, THRESHOLD, SCALED, REASON = "score", "threshold", "scaled", "reason"
UNKNOWN = "unknown"
FEW = 10
"""A median of fewer patients is warned of."""
_SPELLINGS = {"tumour_type": BY_TYPE, "tumor-type": BY_TYPE, "tumor_type": BY_TYPE}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class HypoxiaRule:
    """Above which score a tumour is hypoxic.

    Attributes:
        group: ``tumour-type`` (median of the own tumour type), ``pooled`` (median of all),
            ``sign`` (above 0) or ``cutoff``.
        cutoff: The score itself, for ``cutoff``.
        ties: What a score equal to the threshold is: ``zero`` non-hypoxic, ``drop`` unlabelled.
        min_group: Patients that a median needs, at least 1; smaller groups stay unlabelled.
    """

    group: str = BY_TYPE
    cutoff: float = 0.0
    ties: str = TIES[0]
    min_group: int = 1

    def __post_init__(self) -> None:
        if self.group not in (BY_TYPE, POOLED, SIGN, CUTOFF):
            raise ValueError(f"`group` is no rule. Received: group={self.group!r}")
        if self.ties not in TIES:
            raise ValueError(f"`ties` must be one of {TIES}. Received: ties={self.ties!r}")
        if self.min_group < 1:
            raise ValueError(f"`min_group` must be at least 1. Received: {self.min_group}")
        if not np.isfinite(self.cutoff):
            raise ValueError(f"`cutoff` must be a finite number. Received: {self.cutoff}")

    @property
    def text(self) -> str:
        """The rule as it is written in outputs and on the command line."""
        return f"cutoff={self.cutoff:g}" if self.group == CUTOFF else self.group

    @property
    def has_median(self) -> bool:
        """Whether the threshold is learned from patients."""
        return self.group in (BY_TYPE, POOLED)

    def groups(self, types: Sequence[str]) -> list[str]:
        """Return the group of each patient: the tumour type, or "" for all together."""
        return list(types) if self.group == BY_TYPE else [""] * len(types)


class Group(NamedTuple):
    """What was learned of one group.

    Attributes:
        n: Patients that it was learned from.
        threshold: The score above which a tumour is hypoxic.
        spread: Largest distance of a score from the threshold among them.
    """

    n: int
    threshold: float
    spread: float


@dataclass(frozen=True)
class FittedRule:
    """A rule with its thresholds: tumour type -> what was learned; "" stands for all types."""

    rule: HypoxiaRule
    groups: Mapping[str, Group]

    def notes(self) -> list[str]:
        """Return sentences on groups whose median means little."""
        if not self.rule.has_median:
            return []
        return [
            f"{name or 'all types'}: the median rests on {group.n} patient(s)"
            + (", who is non-hypoxic by definition" if group.n == 1 else "")
            for name, group in self.groups.items()
            if self.rule.min_group <= group.n < FEW
        ]


def parse_rule(text: str, *, ties: str = TIES[0], min_group: int = 1) -> HypoxiaRule:
    """Read a rule such as ``tumour-type``, ``pooled``, ``sign`` or ``cutoff=-5``.

    Args:
        text: The rule.
        ties: As in :class:`HypoxiaRule`.
        min_group: As in :class:`HypoxiaRule`.

    Raises:
        ConfigError: If there is no such rule.
    """
    name, equals, value = text.strip().casefold().partition("=")
    name = _SPELLINGS.get(name.strip(), name.strip())
    try:
        if (name == CUTOFF) != bool(equals):
            raise ValueError(text)
        cutoff = float(value) if equals else 0.0
        return HypoxiaRule(group=name, cutoff=cutoff, ties=ties, min_group=min_group)
    except ValueError as error:
        raise ConfigError(
            f"`--rule` is {BY_TYPE}, {POOLED}, {SIGN} or {CUTOFF}=X, X a number. Received: {text!r}"
        ) from error


def fit_rule(rule: HypoxiaRule, scores: Floats, types: Sequence[str]) -> FittedRule:
    """Learn the thresholds of a rule.

    Args:
        rule: The rule.
        scores: Score of each patient, shape ``(n,)``, finite.
        types: Tumour type of each.

    Returns:
        The thresholds: the medians of the groups, or what the rule itself says.

    Raises:
        TableError: If there is no patient to learn from.
    """
    if rule.has_median and not len(scores):
        raise TableError("no patient to learn a median from.", code="TABLE_EMPTY")
    names = np.asarray(rule.groups(types), dtype=object)
    groups = {}
    # Without a tumour type nobody belongs to a group by type.
    known = sorted(set(names) - ({""} if rule.group == BY_TYPE else set()))
    for name in known if rule.has_median else [""]:
        members = scores[names == name]
        threshold = float(np.median(members)) if rule.has_median else rule.cutoff
        spread = float(np.max(np.abs(members - threshold), initial=0.0))
        groups[str(name)] = Group(len(members), threshold, spread)
    return FittedRule(rule, groups)


def apply_rule(fitted: FittedRule, scores: Floats, types: Sequence[str]) -> pd.DataFrame:
    """Label patients with thresholds learned from them or from others.

    Args:
        fitted: From :func:`fit_rule`.
        scores: Score of each patient, shape ``(n,)``, finite.
        types: Tumour type of each.

    Returns:
        One row a patient, index 0..n-1: ``label`` ("" for unlabelled), ``threshold`` (NaN where
        there is none), ``scaled`` (distance from the threshold over the largest of the patients
        learned from, so in [-1, 1] for these; 0 where that is 0), ``tie`` and ``reason`` (why
        there is no label, else "").
    """
    nobody = Group(0, float("nan"), 0.0)
    found = [fitted.groups.get(name, nobody) for name in fitted.rule.groups(types)]
    threshold = np.array([group.threshold for group in found], dtype=np.float64)
    spread = np.array([group.spread for group in found], dtype=np.float64)
    distance = scores - threshold
    scaled = np.divide(distance, spread, out=np.zeros_like(distance), where=spread > 0)
    tie = distance == 0
    reason = [
        _why_not(fitted.rule, group, name, is_tie)
        for group, name, is_tie in zip(found, types, tie.tolist(), strict=True)
    ]
    label = np.where(distance > 0, HYPOXIC, NON_HYPOXIC).astype(object)
    label[[bool(why) for why in reason]] = ""
    return pd.DataFrame(
        {LABEL: label, THRESHOLD: threshold, SCALED: scaled, "tie": tie, REASON: reason}
    )


def _why_not(rule: HypoxiaRule, group: Group, tumour_type: str, is_tie: bool) -> str:
    if rule.group == BY_TYPE and not tumour_type:
        return "no tumour type"
    if rule.has_median and group.n < max(rule.min_group, 1):
        who = tumour_type if rule.group == BY_TYPE else "all types"
        return f"small group: {who}, {group.n} patient(s) to learn the median from"
    if rule.ties == "drop" and is_tie:
        return f"tie: the score is the threshold of {rule.text}"
    return ""


def count_labels(scores: Floats, types: Sequence[str], labelled: pd.DataFrame) -> pd.DataFrame:
    """Count labels, one row a tumour type and one for all.

    Args:
        scores: Score of each patient, shape ``(n,)``.
        types: Tumour type of each.
        labelled: From :func:`apply_rule`; rows without a label count only if they are ties.

    Returns:
        Index ``tumour_type`` (``unknown`` for blanks, ``all`` last); ``n``, ``median`` of the
        scores, ``threshold`` (NaN for ``all`` if types differ), ``hypoxic``, ``ties``,
        ``non-hypoxic``; ``n`` is the sum of the last three.
    """
    counted = (labelled[LABEL] != "") | labelled[REASON].str.startswith("tie")
    names = [name or UNKNOWN for name in types]
    table = labelled.assign(score=scores, type=names)[counted]
    rows = {str(name): _counts(part) for name, part in table.groupby("type", sort=True)}
    if list(rows) == [UNKNOWN]:
        rows = {}
    rows["all"] = _counts(table)
    return pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="tumour_type"))


def _counts(part: pd.DataFrame) -> dict[str, float]:
    distance = part[SCORE] - part[THRESHOLD]
    thresholds = part[THRESHOLD].unique()
    return {
        "n": len(part),
        "median": part[SCORE].median(),
        THRESHOLD: thresholds[0] if len(thresholds) == 1 else float("nan"),
        HYPOXIC: int((distance > 0).sum()),
        "ties": int(part["tie"].sum()),
        NON_HYPOXIC: int((distance < 0).sum()),
    }
