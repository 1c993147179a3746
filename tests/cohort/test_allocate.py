import random
from collections import Counter
from fractions import Fraction

import pytest

from histokeras.cohort.allocate import Group, allocate
from histokeras.errors import TableError

SHARES = [Fraction(70, 100), Fraction(15, 100), Fraction(15, 100)]


def groups_of(**sizes: int) -> list[Group]:
    return [Group(f"{name}{i}", (name,)) for name, n in sizes.items() for i in range(n)]


def counts(groups: list[Group], sides: dict[str, int]) -> dict[str, list[int]]:
    found = Counter((label, sides[group.id]) for group in groups for label in group.labels)
    labels = {label for label, _ in found}
    return {label: [found[label, side] for side in range(3)] for label in sorted(labels)}


def test_each_class_gets_its_exact_shares() -> None:
    groups = groups_of(a=60, b=40)

    assert counts(groups, allocate(groups, SHARES, seed=0)) == {"a": [42, 9, 9], "b": [28, 6, 6]}


def test_rounding_is_carried_over_so_that_totals_hold() -> None:
    # 10 patients are 7 / 1.5 / 1.5: without carrying over, val would get the odd one each time.
    groups = groups_of(**{f"c{i:02d}_": 10 for i in range(40)})

    assert Counter(allocate(groups, SHARES, seed=0).values()) == {0: 280, 1: 60, 2: 60}


def test_every_class_stands_on_every_side() -> None:
    groups = groups_of(a=30, rare=3)

    assert counts(groups, allocate(groups, SHARES, seed=0))["rare"] == [1, 1, 1]


def test_a_class_with_too_few_patients_shows_the_counts() -> None:
    with pytest.raises(TableError, match=r"\['rare'\] have fewer.*a: 30, rare: 2") as caught:
        allocate(groups_of(a=30, rare=2), SHARES, seed=0)
    assert caught.value.code == "SPLIT_IMPOSSIBLE"
    with pytest.raises(TableError, match=r"2 patient\(s\) cannot be put on 3 sides"):
        allocate([Group("p1"), Group("p2")], SHARES, seed=0)


def test_a_class_that_only_stands_in_mixed_patients_is_moved_too() -> None:
    groups = [
        *groups_of(a=20, b=20),
        *[Group(f"m{i}", ("a", "rare")) for i in range(2)],
        Group("m2", ("b", "rare")),
    ]

    assert counts(groups, allocate(groups, SHARES, seed=0))["rare"] == [1, 1, 1]


def test_labels_that_block_each_other_are_an_error() -> None:
    # a needs 1, 2, 3 apart and b needs 1, 2, 4 apart: 3 and 4 share a side, and c lacks one.
    labels = {"1": ("a", "b"), "2": ("a", "b"), "3": ("a", "c"), "4": ("b", "c"), "5": ("c",)}

    with pytest.raises(TableError, match="cannot stand on each of the 3 sides") as caught:
        allocate([Group(name, found) for name, found in labels.items()], SHARES, seed=0)
    assert caught.value.code == "SPLIT_IMPOSSIBLE"


def test_the_order_of_the_groups_does_not_matter_and_the_seed_does() -> None:
    groups = [Group(f"p{i}", ("ab"[i % 2],), (f"s{i % 5}", f"t{i % 3}")) for i in range(200)]
    shuffled = random.Random(0).sample(groups, len(groups))

    assert allocate(groups, SHARES, seed=3) == allocate(shuffled, SHARES, seed=3)
    assert allocate(groups, SHARES, seed=3) != allocate(groups, SHARES, seed=4)


def test_strata_are_spread_within_each_class() -> None:
    draw = random.Random(1)
    groups = [
        Group(f"p{i}", (draw.choice("aab"),), (draw.choice(["n", "s", "w", "e"]),))
        for i in range(800)
    ]

    sides = allocate(groups, SHARES, seed=0)

    for stratum in "nswe":
        for label in "ab":
            members = [g for g in groups if g.stratum == (stratum,) and g.labels == (label,)]
            found = Counter(sides[group.id] for group in members)
            for side, share in enumerate(SHARES):
                assert abs(found[side] - len(members) * share) <= 1.5


def test_without_labels_only_the_shares_count() -> None:
    sides = Counter(allocate([Group(f"p{i}") for i in range(100)], SHARES, seed=0).values())

    assert sides == {0: 70, 1: 15, 2: 15}


def test_many_scarce_classes_are_cut() -> None:
    names = {f"c{i:02d}": 1 for i in range(20)}

    with pytest.raises(TableError, match=r"'c07', \.\.\. and 12 more\]") as caught:
        allocate(groups_of(**names), SHARES, seed=0)
    assert "c07: 1, ... and 12 more)" in str(caught.value)
    assert "'c08'" not in str(caught.value)


def test_many_numbers_look_continuous() -> None:
    groups = [Group(f"p{i}", (f"{i / 7:.3f}",)) for i in range(100)]

    with pytest.raises(TableError, match=r"holds 100 different numbers .* looks continuous") as e:
        allocate(groups, SHARES, seed=0)
    assert e.value.code == "SPLIT_IMPOSSIBLE"
    assert "`histokeras split` without `--target`" in e.value.hint
    assert len(str(e.value)) < 400


def test_many_numbers_look_continuous_even_if_only_one_is_scarce() -> None:
    groups = groups_of(**{str(i): 5 for i in range(-40, 0)}, **{"-49": 1})

    with pytest.raises(TableError, match="holds 41 different numbers"):
        allocate(groups, SHARES, seed=0)


def test_ten_numbered_classes_of_which_one_is_scarce_are_classes() -> None:
    groups = groups_of(**{str(i): 5 for i in range(9)}, **{"9": 2})

    with pytest.raises(TableError, match=r"class\(es\) \['9'\] have fewer"):
        allocate(groups, SHARES, seed=0)


def test_scarce_classes_that_differ_only_in_case_are_named_with_their_rows() -> None:
    groups = groups_of(Tumor=2, tumor=20, normal=20)

    with pytest.raises(TableError, match=r"'Tumor' \(row 9\) and 'tumor' \(row 2\) differ") as e:
        allocate(groups, SHARES, seed=0, label_rows={"tumor": 2, "Tumor": 9, "normal": 3})
    assert e.value.hint.startswith("Write one class in one way.")
