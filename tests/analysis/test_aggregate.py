import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.aggregate import (
    class_names,
    patients_from_slides,
    pooled_slides,
    score_matrix,
    slide_sums,
    text_column,
)
from histokeras.errors import LeakageError, TableError


def tiles(
    slides: str, patients: str, yes: list[float], labels: list[str] | None = None
) -> pd.DataFrame:
    """One tile a letter: ``tiles("aab", "ppq", [...])`` has two tiles of slide a, patient p."""
    table = pd.DataFrame({"slide_id": list(slides), "patient_id": list(patients)})
    table["prob_no"] = 1 - np.array(yes)
    table["prob_yes"] = yes
    if labels is not None:
        table["label"] = labels
    return table


def random_tiles(seed: int, n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    slide = rng.integers(0, 7, n)
    probs = rng.dirichlet([1, 1, 1], n).astype(np.float32)
    table = pd.DataFrame(
        {"slide_id": [f"S{s}" for s in slide], "patient_id": [f"P{s // 2}" for s in slide]}
    )
    return table.assign(
        label="x", split="test", **{f"prob_{c}": probs[:, k] for k, c in enumerate("xyz")}
    )


def test_slide_gets_mean_probability_and_share_of_tiles() -> None:
    slides = slide_sums(tiles("aaab", "pppp", [0.25, 0.75, 1.0, 0.5]))

    a = slides.set_index("slide_id").loc["a"]
    assert a["n_tiles"] == 3
    assert a["prob_yes"] == pytest.approx(2 / 3)
    assert a["prob_no"] == pytest.approx(1 / 3)
    assert a["share_yes"] == pytest.approx(2 / 3)
    assert a["share_no"] == pytest.approx(1 / 3)


def test_first_class_takes_a_tile_with_equal_probabilities() -> None:
    slides = slide_sums(tiles("b", "p", [0.5]))

    assert slides["share_no"].tolist() == [1]
    assert slides["share_yes"].tolist() == [0]


def test_patient_is_the_pool_of_tiles_and_not_the_mean_of_slides() -> None:
    # Slide a: three tiles of 0; slide b: one tile of 1. The mean of slide means would be 1/2.
    slides = slide_sums(tiles("aaab", "pppp", [0, 0, 0, 1]))

    patient = patients_from_slides(slides).iloc[0]

    assert (patient["patient_id"], patient["n_slides"], patient["n_tiles"]) == ("p", 2, 4)
    assert patient["prob_yes"] == 0.25
    assert patient["share_yes"] == 0.25


def test_patients_equal_the_pool_of_all_tiles() -> None:
    table = random_tiles(0)

    patients = patients_from_slides(slide_sums(table)).set_index("patient_id")

    columns = ["prob_x", "prob_y", "prob_z"]
    expected = table.astype(dict.fromkeys(columns, float)).groupby("patient_id")[columns].mean()
    np.testing.assert_allclose(patients[columns], expected, rtol=1e-14)
    assert patients.index.tolist() == sorted(patients.index)


def test_order_of_tiles_changes_no_bit() -> None:
    table = random_tiles(1)

    shuffled = table.sample(frac=1, random_state=0)

    pd.testing.assert_frame_equal(slide_sums(table), slide_sums(shuffled), check_exact=True)


def test_slide_by_slide_gives_the_same_bits_as_all_at_once() -> None:
    table = random_tiles(2)

    one_by_one = [slide_sums(part) for _, part in table.groupby("slide_id")]
    streamed = pooled_slides(one_by_one[::-1])

    pd.testing.assert_frame_equal(streamed, slide_sums(table), check_exact=True)


def test_slide_in_several_parts_is_pooled() -> None:
    parts = [tiles("a", "p", [0.0]), tiles("aaa", "ppp", [1.0, 1.0, 1.0])]

    slides = pooled_slides([slide_sums(part) for part in parts])

    assert slides["n_tiles"].tolist() == [4]
    assert slides["prob_yes"].tolist() == [0.75]


def test_slides_without_a_kept_tile_vanish() -> None:
    empty = slide_sums(tiles("", "", []))

    assert len(empty) == 0
    assert len(patients_from_slides(empty)) == 0
    assert pooled_slides([empty, slide_sums(tiles("a", "p", [1.0]))])["slide_id"].tolist() == ["a"]
    assert len(pooled_slides([empty, empty])) == 0


def test_label_rises_only_where_it_is_the_only_one() -> None:
    table = tiles("aabbcc", "ppppqq", [0.5] * 6, ["yes", "yes", "no", "", "", ""])

    slides = slide_sums(table)
    patients = patients_from_slides(slides)

    assert slides["label"].tolist() == ["yes", "no", ""]
    assert slides["mixed_labels"].tolist() == [False, False, False]
    assert patients["label"].tolist() == ["", ""]
    assert patients["mixed_labels"].tolist() == [True, False]


def test_mixed_slide_makes_its_patient_mixed() -> None:
    table = tiles("aab", "ppp", [0.5] * 3, ["yes", "no", "yes"])

    slides = slide_sums(table)

    assert slides["label"].tolist() == ["", "yes"]
    assert slides["mixed_labels"].tolist() == [True, False]
    assert patients_from_slides(slides)["mixed_labels"].tolist() == [True]
    assert patients_from_slides(slides)["label"].tolist() == [""]


def test_tiles_without_ids_are_pooled_under_an_empty_name() -> None:
    table = tiles("aa", "pp", [0.0, 1.0]).drop(columns=["slide_id", "patient_id"])

    slides = slide_sums(table)

    assert slides["slide_id"].tolist() == [""]
    assert slides["n_tiles"].tolist() == [2]
    assert len(patients_from_slides(slides)) == 0


def test_patients_need_no_slide_ids() -> None:
    slides = slide_sums(tiles("xxx", "ppq", [0.0, 1.0, 1.0]).assign(slide_id=""))

    patients = patients_from_slides(slides)

    assert patients["patient_id"].tolist() == ["p", "q"]
    assert patients["prob_yes"].tolist() == [0.5, 1.0]
    assert patients["n_slides"].tolist() == [0, 0]


def test_slide_on_two_sides_of_a_tile_level_split_makes_two_rows() -> None:
    table = tiles("aaa", "ppp", [0.0, 1.0, 1.0]).drop(columns="patient_id")

    slides = slide_sums(table.assign(split=["train", "test", "test"]))

    assert slides["split"].tolist() == ["test", "train"]
    assert slides["prob_yes"].tolist() == [1.0, 0.0]


def test_patient_on_two_sides_is_refused() -> None:
    table = tiles("ab", "pp", [0.0, 1.0]).assign(split=["train", "test"])

    with pytest.raises(LeakageError, match="more than one side of the split: 'p'"):
        patients_from_slides(slide_sums(table))


def test_slide_of_two_patients_is_refused() -> None:
    with pytest.raises(TableError, match=r"slide `a` belongs to more than one.*\['p', 'q'\]"):
        slide_sums(tiles("aa", "pq", [0.0, 1.0]))


def test_missing_probabilities_are_refused() -> None:
    with pytest.raises(TableError, match=r"lack `prob_<class>` columns; they have \['slide_id'\]"):
        slide_sums(pd.DataFrame({"slide_id": ["a"]}))
    with pytest.raises(TableError, match=r"lacks? column\(s\) \['prob_maybe'\]"):
        slide_sums(tiles("a", "p", [1.0]), ("yes", "maybe"))
    with pytest.raises(TableError, match=r"slide table lacks column\(s\) \['slide_id'"):
        pooled_slides([pd.DataFrame({"prob_yes": [0.5]})])


@pytest.mark.parametrize("value", ["high", "", "-0.1", "1.1", "nan"])
def test_probability_that_is_none_is_refused(value: str) -> None:
    table = pd.DataFrame({"prob_yes": ["0.5", value]})

    with pytest.raises(TableError, match=r"no numbers in \[0, 1\]: 1 row\(s\), first row 2"):
        score_matrix(table, ("yes",))


def test_text_cells_are_read_as_numbers() -> None:
    table = pd.DataFrame({"prob_no": ["0.25"], "prob_yes": ["0.75"]})

    np.testing.assert_array_equal(score_matrix(table, ("yes", "no")), [[0.75, 0.25]])


def test_class_names_keep_the_order_of_the_columns() -> None:
    assert class_names(pd.DataFrame(columns=["x", "prob_TUM", "prob_ADI"])) == ("TUM", "ADI")


def test_missing_text_is_empty() -> None:
    table = pd.DataFrame({"label": pd.Categorical(["a", None, "b"]), "n": [1, 2, 3]})

    assert text_column(table, "label").tolist() == ["a", "", "b"]
    assert text_column(table, "n").tolist() == ["1", "2", "3"]
    assert text_column(table, "patient_id").tolist() == ["", "", ""]


def test_aggregation_leaves_its_input_alone() -> None:
    table = random_tiles(3)
    before = table.copy()

    patients_from_slides(slide_sums(table))

    pd.testing.assert_frame_equal(table, before)
