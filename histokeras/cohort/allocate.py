"""Which group goes to which side: exact shares, every class everywhere, strata evenly spread."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from histokeras.cohort.notes import alike_names, name_rows
from histokeras.errors import TableError

_SHOWN = 8
_MANY = 20
_NO_TARGET = "`histokeras split` without `--target` balances no classes."


@dataclass(frozen=True)
class Group:
    """What must stay together, usually a patient.

    Attributes:
        id: Its id.
        labels: The labels that it bears, sorted; empty where no target is asked for.
        stratum: Values of the further columns to balance.
    """

    id: str
    labels: tuple[str, ...] = ()
    stratum: tuple[str, ...] = ()


def allocate(
    groups: Sequence[Group],
    shares: Sequence[Fraction],
    *,
    seed: int,
    label_rows: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Give each group a side.

    The result depends on the ids, labels, strata, shares and seed, never on the order of groups.
    In each class the sides get their share rounded down or up, and the rounding is carried over to
    the next class, so that the totals hold too. Every class then gets at least one group per side;
    without classes every side gets at least one.

    Args:
        groups: The groups; ids are unique.
        shares: Share of each side; they sum to 1 and are above 0.
        seed: Any whole number; another seed gives another split.
        label_rows: The first row of each label in its file, for messages.

    Returns:
        For each group id the number of its side.

    Raises:
        TableError: If a class has fewer groups than there are sides (code SPLIT_IMPOSSIBLE).
    """
    _require_enough(groups, len(shares), label_rows or {})
    by_class: dict[tuple[str, ...], list[Group]] = {}
    for group in sorted(groups, key=lambda g: (_stratum_rank(seed, g), _rank(seed, g.id), g.id)):
        by_class.setdefault(group.labels, []).append(group)
    sides: dict[str, int] = {}
    given = [0] * len(shares)
    # The largest class first: its rounding is then the plain largest remainder.
    for _, members in sorted(by_class.items(), key=lambda item: (-len(item[1]), item[0])):
        counts = _class_counts(len(members), shares, given)
        given = [total + count for total, count in zip(given, counts, strict=True)]
        for group, side in zip(members, _spread(counts), strict=True):
            sides[group.id] = side
    named = [replace(group, labels=group.labels or ("",)) for group in groups]
    _fill_empty_sides(named, sides, len(shares))
    return sides


def count_table(groups: Sequence[Group]) -> str:
    """Return "label: number of groups" for the first labels, for messages."""
    counts = Counter(label for group in groups for label in group.labels)
    return _listed([f"{_printable(label)}: {n}" for label, n in sorted(counts.items())])


def _listed(texts: Sequence[str]) -> str:
    more = f", ... and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _require_enough(groups: Sequence[Group], n_sides: int, label_rows: Mapping[str, int]) -> None:
    if len(groups) < n_sides:
        raise TableError(
            f"{len(groups)} patient(s) cannot be put on {n_sides} sides.", code="SPLIT_IMPOSSIBLE"
        )
    counts = Counter(label for group in groups for label in group.labels)
    scarce = sorted(label for label, n in counts.items() if n < n_sides)
    if not scarce:
        return
    if _looks_continuous(counts, scarce):
        examples = ", ".join(sorted(counts)[:3])
        raise TableError(
            f"the label column holds {len(counts)} different numbers ({examples}, ...) and looks "
            f"continuous: classes are needed, each with at least {n_sides} patients.",
            code="SPLIT_IMPOSSIBLE",
            hint="To learn the number itself give `--task regression`. Or group the numbers into "
            "classes, such as low and high, in a column of their own, and name that one as the "
            f"target. {_NO_TARGET}",
        )
    alike = [names for names in alike_names(counts) if not set(names).isdisjoint(scarce)]
    same = [f" {name_rows(names, label_rows)} differ only in case or blanks." for names in alike]
    raise TableError(
        f"class(es) [{_listed([repr(label) for label in scarce])}] have fewer patients than the "
        f"{n_sides} sides (patients per class: {count_table(groups)}).{''.join(same[:_SHOWN])}",
        code="SPLIT_IMPOSSIBLE",
        hint=("Write one class in one way. " if alike else "")
        + f"Ask for fewer sides or folds, or merge classes. {_NO_TARGET}",
    )


def _looks_continuous(labels: Collection[str], scarce: Collection[str]) -> bool:
    """Return whether labels are measurements rather than numbered classes, such as 0 to 9."""
    many = len(labels) >= _MANY or (len(labels) > _SHOWN and 2 * len(scarce) >= len(labels))
    return many and all(map(_is_number, labels))


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _rank(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed}|{text}".encode()).hexdigest()


def _stratum_rank(seed: int, group: Group) -> tuple[str, ...]:
    """Order strata at random, but keep those together that share their first columns."""
    return tuple(_rank(seed, "|".join(group.stratum[: i + 1])) for i in range(len(group.stratum)))


def _class_counts(n: int, shares: Sequence[Fraction], given: Sequence[int]) -> list[int]:
    """Round ``n * share`` down, then hand the rest to the sides that are most behind in all."""
    exact = [n * share for share in shares]
    counts = [int(value) for value in exact]
    total = sum(given) + n
    behind = [
        total * share - done - count
        for share, done, count in zip(shares, given, counts, strict=True)
    ]
    # No side goes beyond its share rounded up.
    open_sides = [side for side, value in enumerate(exact) if value > counts[side]]
    for side in sorted(open_sides, key=lambda s: (-behind[s], s))[: n - sum(counts)]:
        counts[side] += 1
    return counts


def _spread(counts: Sequence[int]) -> list[int]:
    """Return a sequence of sides with these counts, each stretch with about their shares."""
    n = sum(counts)
    done = [0] * len(counts)
    sequence: list[int] = []
    for position in range(1, n + 1):
        open_sides = [side for side, count in enumerate(counts) if done[side] < count]
        side = max(open_sides, key=lambda s: (counts[s] * position - done[s] * n, -s))
        done[side] += 1
        sequence.append(side)
    return sequence


def _fill_empty_sides(groups: Sequence[Group], sides: dict[str, int], n_sides: int) -> None:
    """Move single groups until every label stands on every side."""
    held = Counter((label, sides[group.id]) for group in groups for label in group.labels)
    for label in sorted({label for group in groups for label in group.labels}):
        for side in range(n_sides):
            if held[label, side]:
                continue
            donor = _donor(label, groups, sides, held)
            if donor is None:
                raise TableError(
                    f"class {label!r} cannot stand on each of the {n_sides} sides: its patients "
                    f"bear other scarce labels too (patients per class: {count_table(groups)}).",
                    code="SPLIT_IMPOSSIBLE",
                    hint=f"Ask for fewer sides or folds, or merge classes. {_NO_TARGET}",
                )
            held.subtract((other, sides[donor.id]) for other in donor.labels)
            held.update((other, side) for other in donor.labels)
            sides[donor.id] = side


def _donor(
    label: str, groups: Sequence[Group], sides: dict[str, int], held: Counter[tuple[str, int]]
) -> Group | None:
    """Choose a group that no label needs where it is, from the side that holds most."""
    movable = [
        group
        for group in groups
        if label in group.labels and all(held[other, sides[group.id]] > 1 for other in group.labels)
    ]
    return max(
        movable, key=lambda g: (held[label, sides[g.id]], -len(g.labels), g.id), default=None
    )
