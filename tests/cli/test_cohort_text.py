import pandas as pd
import pytest

from histokeras.cli.cohort_text import say_cohort, say_joined
from histokeras.cohort.join import join_labels
from histokeras.cohort.labels import read_cohort


def test_a_duplicate_row_is_reported_once_with_its_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cohort = read_cohort(pd.DataFrame({"patient_id": ["p1", "p2", "p1"], "label": list("aba")}))
    joined = join_labels(pd.DataFrame({"slide_id": ["p1", "s9"]}), cohort)

    say_cohort(cohort)
    say_joined(joined.funnel, joined.dropped)

    text = capsys.readouterr().err
    assert text.count("duplicate of row 2") == 1
    assert "row 4: 'p1': duplicate of row 2" in text
    assert "patient 'p2': labelled, but no slide with features" in text
    assert joined.dropped["kind"].tolist() == ["row", "patient", "slide"]
