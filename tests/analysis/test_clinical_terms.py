import json

import numpy as np
import pandas as pd

from histokeras.analysis.clinical_terms import columns_from_json, learn_columns, terms_of


def test_columns_are_learned_on_train_and_applied_to_others_by_hand() -> None:
    stage = pd.CategoricalDtype(["T1", "T2", "T3"], ordered=True)
    known = {
        "age": pd.Series([50.0, np.nan, 70, 900]),
        "T": pd.Series(pd.Categorical(["T1", "T3", "T3", None], dtype=stage)),
        "type": pd.Series(pd.Categorical(["b", "a", None, "c"])),
        "gone": pd.Series([np.nan, np.nan, np.nan, 1.0]),
        "same": pd.Series(pd.Categorical(["x", "x", "x", "y"])),
    }

    learned = learn_columns(known, np.array([True, True, True, False]))

    # Of "gone" there is nothing to learn from, of "same" nothing to tell.
    assert [column.name for column in learned] == ["age", "T", "type"]
    assert [(column.middle, column.missing) for column in learned] == [
        (60, True), (2, False), (0, True),
    ]  # fmt: skip
    new = {
        "age": pd.Series([np.nan, 40.0]),
        # Another table may know fewer levels: their names count, not their numbers.
        "T": pd.Series(pd.Categorical(["T3", None], categories=["T2", "T3"], ordered=True)),
        "type": pd.Series(pd.Categorical(["c", "b"])),
    }
    names, x = terms_of(columns_from_json(json.loads(json.dumps([
        column.as_json() for column in learned
    ]))), new, 2)  # fmt: skip
    assert names == ["age", "age: missing", "T", "type: b", "type: missing"]
    assert x.tolist() == [[60, 1, 2, 0, 0], [40, 0, 2, 1, 0]]
    assert terms_of((), new, 2)[1].shape == (2, 0)
