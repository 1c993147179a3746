import numpy as np
import pytest

from histokeras.analysis import duplicates
from histokeras.analysis.duplicates import (
    Pairs,
    alike_by_features,
    alike_by_floor,
    merged,
    same_pixels,
    sampled_note,
)


def by_floor(vectors: np.ndarray, groups: np.ndarray) -> Pairs:
    return alike_by_floor(vectors, groups)[0]


def pairs_of(found: Pairs) -> set[tuple[int, int]]:
    return set(zip(found.a.tolist(), found.b.tolist(), strict=True))


def test_equal_pixels_of_one_group_are_no_duplicate() -> None:
    hashes = np.array([5, 7, 5, 7, 7, 9], np.uint64)
    groups = np.array([0, 0, 0, 1, 2, 1])

    assert pairs_of(same_pixels(hashes, groups)) == {(1, 3), (1, 4)}


def test_no_tiles_give_no_pairs() -> None:
    assert len(same_pixels(np.empty(0, np.uint64), np.empty(0, int))) == 0
    assert len(by_floor(np.empty((0, 4), np.float32), np.empty(0, int))) == 0


@pytest.mark.parametrize("find", [by_floor, alike_by_features])
def test_planted_copies_are_all_found_and_nothing_else(
    find: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small blocks, so that more than one is needed.
    monkeypatch.setattr(duplicates, "_BLOCK", 64)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 300)).astype(np.float32)
    groups = np.arange(300) % 10
    planted = [(0, 11), (5, 66), (100, 299), (150, 251)]
    for a, b in planted:
        vectors[b] = vectors[a] + 0.02 * rng.normal(size=300)
    vectors[20] = vectors[10]  # the same group: not meant

    found = find(vectors, groups)  # type: ignore[operator]

    assert pairs_of(found) == set(planted)
    assert (found.similarity > 0.95).all()


def test_the_tree_finds_what_comparing_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(700, 20)).astype(np.float32)
    groups = rng.integers(0, 30, 700)
    for a, b in rng.integers(0, 700, (60, 2)):
        vectors[b] = vectors[a] + 0.08 * rng.normal(size=20)
    all_compared, n = alike_by_floor(vectors, groups)

    monkeypatch.setattr(duplicates, "MOST_TILES", 100)
    by_tree, n_by_tree = alike_by_floor(vectors, groups)
    monkeypatch.setattr(duplicates, "_MOST_CANDIDATES", 0)
    sampled, n_sampled = alike_by_floor(vectors, groups)

    assert (n, n_by_tree, n_sampled) == (700, 700, 100)
    assert len(all_compared) > 30
    assert pairs_of(by_tree) == pairs_of(all_compared)
    np.testing.assert_allclose(by_tree.similarity, all_compared.similarity, rtol=1e-6)
    assert len(sampled) < len(all_compared)
    assert "100 of 700" in sampled_note(n_sampled, 700)
    assert sampled_note(n, 700) == ""


def test_features_of_one_direction_are_not_called_alike() -> None:
    # As random weights give: tiny, and nearly all variance along one line.
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 1)) * np.ones(80) + 0.05 * rng.normal(size=(400, 80))

    assert len(alike_by_features((1e-8 * vectors).astype(np.float32), np.arange(400) % 20)) == 0


def test_too_few_tiles_are_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        alike_by_features(np.zeros((10, 100), np.float32), np.zeros(10, int))


def test_a_constant_number_tells_nothing() -> None:
    vectors = np.full((6, 3), 2.0, np.float32)
    vectors[:, 0] = [0, 10, 20, 30, 40, 0.01]

    found = by_floor(vectors, np.arange(6))

    assert pairs_of(found) == {(0, 5)}


def test_a_pair_found_twice_is_listed_once_under_the_first_way() -> None:
    same = Pairs(np.array([1]), np.array([4]), np.array([1.0]))
    alike = Pairs(np.array([1, 2]), np.array([4, 3]), np.array([0.9, 0.95]))

    how, pairs = merged([("same pixels", same), ("alike", alike)])

    assert how == ["same pixels", "alike"]
    assert pairs.similarity.tolist() == [1.0, 0.95]
