import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.aggregate import patients_from_slides, slide_sums
from histokeras.analysis.collect import class_numbers, collect_predictions
from histokeras.errors import LeakageError, TableError


def slide(
    name: str, patient: str, label: str, yes: list[float], split: str = "test"
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "slide_id": name,
            "patient_id": patient,
            "label": label,
            "split": split,
            "prob_no": 1 - np.array(yes),
            "prob_yes": yes,
        }
    )


def test_tables_may_come_one_by_one() -> None:
    tables = [slide("b", "q", "yes", [1.0]), slide("a", "p", "no", [0.0, 0.5])]

    found = collect_predictions(iter(tables))

    whole = slide_sums(pd.concat(tables))
    assert found.classes == ("no", "yes")
    assert found.tiles == {}
    pd.testing.assert_frame_equal(found.slides, whole, check_exact=True)
    pd.testing.assert_frame_equal(found.patients, patients_from_slides(whole), check_exact=True)


def test_kept_tiles_are_lean_arrays_with_patients_in_the_order_of_their_ids() -> None:
    tables = [slide("b", "q", "yes", [1.0]), slide("a", "p", "no", [0.0, 0.5])]

    tiles = collect_predictions(tables, keep_tiles=True).tiles["test"]

    assert tiles.targets.tolist() == [1, 0, 0]
    assert tiles.patients is not None
    assert tiles.patients.tolist() == [1, 0, 0]
    np.testing.assert_array_equal(tiles.probs, [[0, 1], [1, 0], [0.5, 0.5]])
    assert (tiles.targets.itemsize, tiles.patients.itemsize) == (4, 4)
    assert tiles.probs.dtype == np.float32


def test_tiles_are_kept_apart_by_split() -> None:
    tables = [slide("a", "p", "no", [0.1], "train"), slide("b", "q", "", [0.2, 0.3], "test")]

    tiles = collect_predictions(tables, keep_tiles=True).tiles

    assert sorted(tiles) == ["test", "train"]
    assert tiles["test"].targets.tolist() == [-1, -1]
    assert tiles["train"].probs.shape == (1, 2)


def test_unknown_patients_are_minus_one_or_none() -> None:
    some = [slide("a", "", "no", [0.1]), slide("b", "q", "yes", [0.2])]

    with_some = collect_predictions(some, keep_tiles=True).tiles["test"].patients
    with_none = collect_predictions(some[:1], keep_tiles=True).tiles["test"].patients

    assert with_some is not None
    assert with_some.tolist() == [-1, 0]
    assert with_none is None


def test_order_of_classes_can_be_given() -> None:
    found = collect_predictions(
        [slide("a", "p", "yes", [0.9])], classes=("yes", "no"), keep_tiles=True
    )

    assert found.tiles["test"].targets.tolist() == [0]
    np.testing.assert_allclose(found.tiles["test"].probs, [[0.9, 0.1]], rtol=1e-6)


def test_class_numbers_leave_missing_labels_out() -> None:
    assert class_numbers(np.array(["b", "", "a"], dtype=object), ("a", "b")).tolist() == [1, -1, 0]


def test_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(TableError, match=r"label\(s\) \['maybe'\] are none of the classes"):
        collect_predictions([slide("a", "p", "maybe", [0.5])], keep_tiles=True)


def test_nothing_to_collect_is_refused() -> None:
    with pytest.raises(TableError, match="there are no predictions"):
        collect_predictions([])


def test_leaking_patient_is_refused_over_tables() -> None:
    tables = [slide("a", "p", "no", [0.1], "train"), slide("b", "p", "no", [0.1], "test")]

    with pytest.raises(LeakageError, match="'p'"):
        collect_predictions(tables)
