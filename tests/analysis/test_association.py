import numpy as np
import pandas as pd
import pytest
from scipy import stats

from histokeras.analysis.association import as_variable, associate, associations
from histokeras.analysis.site_labels import epsilon_squared


def groups(*cells: str | None, ordered: tuple[str, ...] = ()) -> pd.Series:
    kind = pd.CategoricalDtype(list(ordered), ordered=True) if ordered else "category"
    return pd.Series(cells, dtype="object").astype(kind)


def pair(one: pd.Series, other: pd.Series, **how: int) -> dict:
    return associate(as_variable(one, "one"), as_variable(other, "other"), **how)


def test_spearman_of_ranks_by_hand() -> None:
    # Ranks 1..5 against 2 1 4 3 5: d = 1 1 1 1 0, rho = 1 - 6 * 4 / (5 * 24) = 0.8.
    found = pair(
        pd.Series([0.1, 0.2, 0.3, 0.4, 0.5, np.nan]),
        pd.Series([20, 10, 40, 30, 50, 60.0]),
        min_patients=5,
    )

    assert found["n"] == 5
    assert found["effect_size"] == pytest.approx(0.8)
    assert found["direction"] == "rises with it"


def test_ordered_levels_count_as_ranks() -> None:
    levels = ("N0", "N1", "N2")
    cells = [levels[i % 3] for i in range(12)]
    numbers = pd.Series([i % 3 + i / 100 for i in range(12)])

    found = pair(numbers, groups(*cells, ordered=levels))

    referee = stats.spearmanr(numbers, [i % 3 for i in range(12)])
    assert (found["test"], found["n"]) == ("Spearman", 12)
    assert found["p"] == pytest.approx(referee.pvalue)


def test_kruskal_wallis_by_hand() -> None:
    # Ranks 1..5 and 6..10: H = 12 / (10 * 11) * (15^2 / 5 + 40^2 / 5) - 3 * 11 = 6.8182.
    numbers = pd.Series(np.arange(10, dtype=float))

    found = pair(numbers, groups(*"aaaaabbbbb"))

    assert found["statistic"] == pytest.approx(6.8182, abs=1e-4)
    assert found["p"] == pytest.approx(stats.chi2.sf(found["statistic"], 1))
    # H less K - 1, over n - K.
    assert found["effect_size"] == pytest.approx(5.8182 / 8, abs=1e-4)
    assert found["strength"] == pytest.approx(np.sqrt(5.8182 / 8), abs=1e-4)
    assert found["direction"] == "highest in b (median 7), lowest in a (2)"
    assert found["groups"] == "a 5, b 5"
    # The same whichever of the two comes first.
    assert pair(groups(*"aaaaabbbbb"), numbers) == found
    # Of two groups the sign tells whether the second has more.
    assert pair(-numbers, groups(*"aaaaabbbbb"))["strength"] == pytest.approx(-found["strength"])


def test_epsilon_squared_of_ties_is_that_of_ranks() -> None:
    rng = np.random.default_rng(0)
    numbers, codes = rng.integers(0, 4, 40).astype(float), rng.integers(0, 3, 40)

    found = pair(pd.Series(numbers), groups(*(f"g{code}" for code in codes)))

    parts = [numbers[codes == code] for code in range(3)]
    assert found["p"] == pytest.approx(stats.kruskal(*parts).pvalue)
    assert found["effect_size"] == pytest.approx(
        epsilon_squared(codes, stats.rankdata(numbers).astype(float))
    )


def test_chi_square_by_hand_and_fisher_where_counts_are_small() -> None:
    # 30 10 / 10 30: expected 20 each, chi-square = 4 * 10^2 / 20 = 20.
    wide = pair(groups(*"a" * 40, *"b" * 40), groups(*"x" * 30, *"y" * 20, *"x" * 10, *"y" * 20))
    narrow = pair(groups(*"aaaaaabbbbbb"), groups(*"xxxxxyyyyyyx"))

    table = [[30, 10], [10, 30]]
    assert wide["test"] == "chi-square"
    assert wide["statistic"] == pytest.approx(20)
    assert wide["p"] == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)
    assert wide["direction"] == "a goes with x"
    # Bergsma: phi2 = 20/80 - 1/79, both sides 2 - 1/79.
    assert wide["effect_size"] == pytest.approx(np.sqrt((0.25 - 1 / 79) / (1 - 1 / 79)))
    assert narrow["test"] == "Fisher"
    assert narrow["p"] == pytest.approx(stats.fisher_exact([[5, 1], [1, 5]]).pvalue)


def test_too_few_is_said_and_not_computed() -> None:
    numbers = pd.Series(np.arange(12, dtype=float))

    few = pair(numbers[:8], numbers[:8])
    small = pair(numbers, groups(*"aaaaaaaaabbb"))
    left = pair(numbers, groups(*"aaaaabbbbbcc"))
    equal = pair(numbers * 0, numbers)
    sparse = pair(groups(*"abcabcabcabcabcabc"), groups(*"uuuuuuvvvvvvwwwwww"))

    assert few["not_computed"] == "8 patients, fewer than 10"
    assert small["not_computed"] == "9 patients, fewer than 10"
    assert (left["left_out"], left["n"], left["groups"]) == ("c (2)", 10, "a 5, b 5")
    assert equal["not_computed"] == "`one`: all values are equal"
    assert "expected counts below 5" in sparse["not_computed"]
    assert all("p" not in found for found in (few, small, equal, sparse))


def test_q_is_benjamini_and_hochberg_over_all_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    # p .01 .02 .03 .04 .5: q = .05 .05 .05 .05 .5.
    p = iter([0.04, 0.5, 0.01, 0.03, 0.02])
    monkeypatch.setattr(
        "histokeras.analysis.association.associate",
        lambda one, other, **how: {"p": next(p), "n": 9} if other.name else {},
    )
    numbers = pd.Series([1.0, 2.0])

    table = associations({f"m{i}": numbers for i in range(5)}, {"age": numbers})

    assert table["p"].tolist() == [0.01, 0.02, 0.03, 0.04, 0.5]
    assert table["q"].tolist() == pytest.approx([0.05] * 4 + [0.5])


def test_a_planted_link_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(1)
    n = 200
    stage = rng.integers(0, 3, n)
    measures = {
        "share_TUM": pd.Series(stage + rng.normal(0, 1, n)),
        **{f"share_{i}": pd.Series(rng.normal(0, 1, n)) for i in range(9)},
    }
    clinical = {
        "stage": groups(*(f"S{i}" for i in stage), ordered=("S0", "S1", "S2")),
        "sex": groups(*(("f", "m")[i] for i in rng.integers(0, 2, n))),
        "event": pd.Series(rng.integers(0, 2, n).astype(bool), dtype="boolean"),
    }

    table = associations(measures, clinical)

    assert len(table) == 30
    assert table["measure"][table["q"] < 0.05].tolist() == ["share_TUM"]
    assert table["clinical"][0] == "stage"
