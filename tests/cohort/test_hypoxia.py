import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.baselines import fit_category
from histokeras.analysis.metrics import accuracy, confusion_matrix, predicted_classes, roc_auc
from histokeras.cohort.hypoxia import (
    FittedRule,
    HypoxiaRule,
    apply_rule,
    count_labels,
    fit_rule,
    parse_rule,
)
from histokeras.errors import ConfigError, TableError

SCORES = np.array([-3.0, 1, 5, 7, 9, 11])
TYPES = ["A", "A", "A", "B", "B", "B"]


def label(rule: HypoxiaRule, scores: np.ndarray = SCORES, types: list[str] = TYPES) -> pd.DataFrame:
    return apply_rule(fit_rule(rule, scores, types), scores, types)


def positives(table: pd.DataFrame) -> list[int]:
    return [int(name == "hypoxic") for name in table["label"]]


@pytest.mark.parametrize(
    ("rule", "expected", "threshold"),
    [
        ("tumour-type", [0, 0, 1, 0, 0, 1], [1, 1, 1, 9, 9, 9]),
        ("pooled", [0, 0, 0, 1, 1, 1], [6] * 6),
        ("sign", [0, 1, 1, 1, 1, 1], [0] * 6),
        ("cutoff=9", [0, 0, 0, 0, 0, 1], [9] * 6),
        ("cutoff=-3.5", [1] * 6, [-3.5] * 6),
    ],
)
def test_the_worked_example(rule: str, expected: list[int], threshold: list[float]) -> None:
    table = label(parse_rule(rule))

    assert positives(table) == expected
    assert table["threshold"].tolist() == threshold
    assert set(table["label"]) <= {"hypoxic", "non-hypoxic"}


def test_scores_are_scaled_by_the_largest_distance_of_the_group() -> None:
    assert label(parse_rule("tumour-type"))["scaled"].tolist() == [-1, 0, 1, -1, 0, 1]
    assert label(parse_rule("pooled"))["scaled"].tolist() == [
        -1,
        -5 / 9,
        -1 / 9,
        1 / 9,
        1 / 3,
        5 / 9,
    ]


def test_z_scores_change_nothing_and_min_max_scaling_would() -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.gamma(2, 10, 501)) * 2 - 51
    types = list(rng.choice(["A", "B"], 501))
    z = (scores - scores.mean()) / scores.std()

    for rule in (parse_rule("tumour-type"), parse_rule("pooled")):
        plain = label(rule, scores, types)
        np.testing.assert_allclose(label(rule, z, types)["scaled"], plain["scaled"], atol=1e-12)

    min_max = (scores - scores.min()) / np.ptp(scores) * 2 - 1
    assert ((min_max > 0) != (plain["label"] == "hypoxic")).mean() > 0.1
    with pytest.raises(ConfigError, match="is tumour-type, pooled, sign or cutoff=X"):
        parse_rule("min-max")


@pytest.mark.parametrize(
    "text", ["", "median", "cutoff", "cutoff=", "cutoff=x", "cutoff=nan", "sign=1"]
)
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="Received: "):
        parse_rule(text)


def test_rules_are_named_as_they_are_typed() -> None:
    names = ["tumour-type", "pooled", "sign", "cutoff=-2.5"]

    assert [parse_rule(name).text for name in names] == names
    assert parse_rule("tumor_type").text == "tumour-type"
    with pytest.raises(ValueError, match="Received: ties='half'"):
        HypoxiaRule(ties="half")


def test_ties_are_non_hypoxic_or_left_out_and_counted_either_way() -> None:
    zero, drop = (label(parse_rule("tumour-type", ties=ties)) for ties in ("zero", "drop"))

    assert zero["label"].tolist().count("non-hypoxic") == 4
    assert drop["label"].tolist() == ["non-hypoxic", "", "hypoxic"] * 2
    assert drop["reason"][1] == "tie: the score is the threshold of tumour-type"
    for table in (zero, drop):
        counts = count_labels(SCORES, TYPES, table)
        assert counts.loc["B"].tolist() == [3, 9, 9, 1, 1, 1]
        assert counts.loc["all"].dropna().tolist() == [6, 6, 2, 2, 2]


def test_a_group_of_one_is_non_hypoxic_with_a_warning_or_unlabelled() -> None:
    scores, types = np.array([40.0, 1, 2, 3]), ["X", "A", "A", "A"]
    alone = fit_rule(parse_rule("tumour-type"), scores, types)
    guarded = fit_rule(parse_rule("tumour-type", min_group=2), scores, types)

    assert apply_rule(alone, scores, types).iloc[0].tolist()[:3] == ["non-hypoxic", 40.0, 0.0]
    assert alone.notes() == [
        "A: the median rests on 3 patient(s)",
        "X: the median rests on 1 patient(s), who is non-hypoxic by definition",
    ]
    assert apply_rule(guarded, scores, types)["label"].tolist()[:2] == ["", "non-hypoxic"]
    assert apply_rule(guarded, scores, types)["reason"][0] == (
        "small group: X, 1 patient(s) to learn the median from"
    )
    assert parse_rule("sign", min_group=10).has_median is False
    assert "" not in label(parse_rule("sign", min_group=10))["label"].tolist()


def test_equal_scores_are_all_non_hypoxic() -> None:
    table = label(parse_rule("pooled"), np.full(4, 7.0), ["A"] * 4)

    assert table["scaled"].tolist() == [0] * 4
    assert set(table["label"]) == {"non-hypoxic"}


def test_thresholds_of_some_patients_label_others() -> None:
    fitted = fit_rule(parse_rule("tumour-type"), SCORES[:3], TYPES[:3])

    table = apply_rule(fitted, np.array([0.0, 9, 50, 3]), ["A", "A", "B", ""])

    assert table["label"].tolist() == ["non-hypoxic", "hypoxic", "", ""]
    assert table["scaled"].tolist()[:2] == [-0.25, 2.0]
    assert table["reason"].tolist()[2:] == [
        "small group: B, 0 patient(s) to learn the median from",
        "no tumour type",
    ]
    assert isinstance(fitted, FittedRule)
    with pytest.raises(TableError, match="no patient to learn a median from"):
        fit_rule(parse_rule("pooled"), SCORES[:0], [])


def test_the_summary_of_the_study_gives_its_counts(
    summary: dict[str, tuple[int, int, int]], summary_cohort: tuple[np.ndarray, list[str]]
) -> None:
    scores, types = summary_cohort
    pooled = label(parse_rule("pooled"), scores, types)

    counts = count_labels(scores, types, pooled)

    assert {name: tuple(row) for name, *row in counts[["n", "median", "hypoxic"]].itertuples()} == {
        **summary,
        "all": (7791, 1, 3692),
    }


def test_the_tumour_type_alone_tells_much_of_the_pooled_label(
    summary_cohort: tuple[np.ndarray, list[str]],
) -> None:
    scores, types = summary_cohort
    targets = np.array(positives(label(parse_rule("pooled"), scores, types)))
    table = fit_category(types, targets, 2)
    prior = np.array([table[name] for name in types])

    confusion = confusion_matrix(targets, predicted_classes(prior), 2)

    assert float(accuracy(confusion)) == pytest.approx(0.79502, abs=5e-6)
    assert roc_auc(targets == 1, prior[:, 1]) == pytest.approx(0.88317, abs=5e-6)
