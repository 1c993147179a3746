import numpy as np
import pandas as pd
import pytest

from histokeras.cohort.labels import read_cohort
from histokeras.cohort.outcome_labels import (
    by_outcome,
    outcomes,
    require_events,
    require_one_outcome,
    with_outcome,
)
from histokeras.cohort.split import split_patients
from histokeras.errors import TableError


def followed(n: int = 40, n_events: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "patient_id": [f"P{i:02d}" for i in range(n)],
        "time": rng.integers(1, 90, n).astype(str),
        "event": ["1" if i < n_events else "0" for i in range(n)],
    })  # fmt: skip


def test_time_and_event_become_one_text_as_r_writes_it() -> None:
    table = pd.DataFrame({
        "patient_id": list("abcdef"),
        "OS_MONTHS": ["54.10", "7", "3", "NA", "2", "[Not Available]"],
        "OS_STATUS": ["1:DECEASED", "0:LIVING", "dead", "alive", "", "yes"],
    })  # fmt: skip

    joined, target = with_outcome(table)

    assert target == "OS_MONTHS, OS_STATUS"
    assert joined[target].tolist() == ["54.1", "7+", "3", "", "", ""]
    time, event = outcomes(["54.1", "7+"])
    assert (time.tolist(), event.tolist()) == ([54.1, 7.0], [True, False])
    cohort = read_cohort(joined, target=target, task="survival")
    assert cohort.table["label"].tolist() == ["54.1", "7+", "3"]
    assert cohort.dropped["reason"].tolist() == ["no label"] * 3
    assert "2 events in 3 rows, times from 3 to 54.1" in cohort.notes[0]
    # Named columns win, in any case.
    assert with_outcome(table, "os_months", "OS_Status")[1] == target


@pytest.mark.parametrize(("column", "cell", "said"), [
    ("time", "-3", r"`time` holds '-3' in row 3: a time is a number above 0"),
    ("time", "soon", r"`time` holds 'soon' in row 3"),
    ("event", "2", r"`event` holds '2' in row 3: an event is 1 \(seen\) or 0 \(censored\)"),
])  # fmt: skip
def test_a_cell_that_is_no_outcome_is_named_with_its_row(column: str, cell: str, said: str) -> None:
    table = followed(4, 2)
    table.loc[1, column] = cell

    with pytest.raises(TableError, match=said) as caught:
        with_outcome(table)
    assert caught.value.code == "SURVIVAL_CELLS"


def test_a_table_without_follow_up_is_told_what_is_needed_and_the_alternative() -> None:
    table = pd.DataFrame({"patient_id": ["a"], "Age": ["60"], "death_event": ["1"]})

    with pytest.raises(
        TableError, match=r"`time`.*`event`.*has no column of the time; it has \['pat"
    ) as caught:
        with_outcome(table)
    assert "--task classification --target COLUMN" in caught.value.hint
    with pytest.raises(TableError, match="has no column `months`"):
        with_outcome(table, "months", "death_event")
    twice = followed(3, 2).rename(columns={"time": "OS_days"}).assign(OS_months="1")
    with pytest.raises(TableError, match=r"several columns may be the time: \['OS_days', 'OS_mo"):
        with_outcome(twice)


def test_nobody_with_an_event_is_said() -> None:
    joined, target = with_outcome(followed(6, 0))

    with pytest.raises(TableError, match="all 6 outcomes of `time, event` are censored") as caught:
        read_cohort(joined, target=target, task="survival")
    assert caught.value.code == "COX_IMPOSSIBLE"


def test_two_outcomes_of_one_patient_are_in_conflict() -> None:
    rows = pd.concat([followed(4, 2), followed(1, 1).assign(time="91")], ignore_index=True)
    joined, target = with_outcome(rows)

    with pytest.raises(TableError, match=r"'P00' is .* and '91'"):
        read_cohort(joined, target=target, task="survival")
    units = pd.DataFrame({"patient_id": ["P", "P", "Q"], "label": ["3", "3+", "3"]})
    with pytest.raises(TableError, match=r"1 patient\(s\) have two outcomes, first 'P': 3 and 3\+"):
        require_one_outcome(units)


def test_a_split_balances_events_and_their_times() -> None:
    joined, target = with_outcome(followed(60, 30))
    cohort = read_cohort(joined, target=target, task="survival")

    split = split_patients(cohort, folds=5)

    assert split.target == "time, event"
    placed = cohort.table.merge(split.table, on="patient_id")
    time, event = outcomes(placed["label"].tolist())
    assert placed[event].groupby("fold").size().tolist() == [6] * 5
    # Early and late events lie in every fold.
    early = event & (time <= np.median(time[event]))
    assert placed[early].groupby("fold").size().between(2, 4).all()
    # Too few who were censored to stand on every side: they count with the others.
    few = by_outcome(read_cohort(
        with_outcome(followed(12, 11))[0], target=target, task="survival"
    ).table, "patient_id", 3)  # fmt: skip
    assert set(few["label"]) == {"event, quantile 1", "event, quantile 2"}


def test_too_few_events_are_counted_by_side() -> None:
    placed = pd.DataFrame({
        "patient_id": [f"P{i}" for i in range(14)],
        "label": ["5"] * 12 + ["5+"] * 2,
        "split": ["train"] * 9 + ["val"] * 3 + ["test"] * 2,
    })  # fmt: skip

    with pytest.raises(TableError, match=r"of fold 2: train 9, val 3, test 0; a head needs 10 in"):
        require_events(placed, " of fold 2")
    placed.loc[9, "split"] = "train"
    require_events(placed)
