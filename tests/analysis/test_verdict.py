from typing import Any

from histokeras.analysis.verdict import NO_FLOOR, floor_verdict, signed


def estimate(value: float | None, low: float | None, high: float | None, note: str = "") -> dict:
    return {"value": value, "low": low, "high": high, "n_patients": 89, "note": note}


def level(auc: float | None = 0.981, **differences: dict) -> dict[str, Any]:
    own = {"floor": 0.946, "colour": 0.97, "tumour_type": 0.99}
    return {
        "n": 400,
        "resampled_by": "patient",
        "aggregations": {"mean_probability": {"auc": estimate(auc, 0.9, 1.0)}},
        "baselines": {
            name: {"auc": estimate(own[name], 0.8, 0.99), "difference": {"auc": difference}}
            for name, difference in differences.items()
        },
    }


def test_difference_above_nothing_beats_the_floor() -> None:
    found = floor_verdict(level(floor=estimate(0.035, 0.012, 0.060)))

    assert found == {
        "beaten": True,
        "text": "The network beats colour and texture alone: AUC 0.981 against 0.946, difference "
        "+0.035 [+0.012, +0.060] (95 % interval, 89 patients).",
    }


def test_tumour_type_alone_is_named_where_it_does_as_well() -> None:
    beaten = floor_verdict(
        level(floor=estimate(0.035, 0.012, 0.06), tumour_type=estimate(0.1, 0.05, 0.2))
    )
    equal = floor_verdict(
        level(floor=estimate(0.035, 0.012, 0.06), tumour_type=estimate(-0.009, -0.02, 0.01))
    )

    assert "Tumour type" not in beaten["text"]
    assert equal["text"].endswith(
        "Tumour type alone, without any picture, may do as well: AUC 0.990, difference -0.009 "
        "[-0.020, +0.010]."
    )


def test_worse_network_is_called_needless() -> None:
    found = floor_verdict(level(0.9, floor=estimate(-0.046, -0.08, -0.01)))

    assert found["beaten"] is False
    assert found["text"].startswith("The network does NOT beat colour and texture alone")
    assert found["text"].endswith("(95 % interval, 89 patients): this result needs no network.")


def test_interval_that_holds_nothing_shows_nothing() -> None:
    for low in (-0.011, 0.0):
        found = floor_verdict(level(floor=estimate(0.03, low, 0.06)), alpha=0.1)

        assert found["beaten"] is False
        assert found["text"].startswith("The network is not shown to beat colour and texture alone")
        assert "(90 % interval, 89 patients), an interval that holds 0." in found["text"]


def test_six_colour_numbers_that_do_as_well_are_named() -> None:
    equal, better = estimate(0.011, -0.01, 0.03), estimate(-0.03, -0.05, -0.01)
    beaten, lost = estimate(0.035, 0.012, 0.060), estimate(0.01, -0.012, 0.060)

    assert floor_verdict(level(floor=beaten, colour=equal))["text"].endswith(
        " But even six colour numbers alone may do as well: AUC 0.970, "
        "difference +0.011 [-0.010, +0.030]."
    )
    assert (
        " Even six colour numbers alone do better: AUC 0.970"
        in (floor_verdict(level(floor=lost, colour=better))["text"])
    )
    assert "six" not in floor_verdict(level(floor=beaten, colour=beaten))["text"]


def test_unknown_floor_is_called_so() -> None:
    assert floor_verdict(level()) == {"beaten": None, "text": NO_FLOOR}
    assert floor_verdict(level(colour=estimate(0.1, 0.05, 0.2)))["beaten"] is None


def test_figures_that_are_not_defined_decide_nothing() -> None:
    undefined = floor_verdict(level(None, floor=estimate(None, None, None)))
    one_patient = floor_verdict(level(floor=estimate(0.1, None, None, "one patient: no interval")))

    assert undefined == {
        "beaten": None,
        "text": "Not compared with colour and texture alone: the AUC needs two classes.",
    }
    assert one_patient["beaten"] is None
    assert "difference +0.100 (one patient: no interval)." in one_patient["text"]


def test_small_classes_are_warned_of() -> None:
    note = "fewer than 5 patients in class yes: interval not reliable"

    text = floor_verdict(level(floor=estimate(0.1, 0.05, 0.2, note)))["text"]

    assert text.endswith(f"Take care: {note}.")


def test_resampled_tiles_are_called_tiles() -> None:
    metrics = level(floor=estimate(0.1, 0.05, 0.2) | {"n_patients": None})

    assert "400 tiles)" in floor_verdict(metrics | {"resampled_by": "tile"})["text"]


def test_rounded_to_nothing_has_no_minus() -> None:
    assert signed(estimate(-0.0001, -0.02, 0.01)) == "+0.000 [-0.020, +0.010]"
    assert signed(estimate(0.0, None, None)) == "+0.000"


def test_a_run_that_is_not_shown_to_beat_chance_is_told_so() -> None:
    known = level(floor=estimate(0.3, 0.1, 0.5))
    unsure, worse = dict(known), dict(known)
    unsure["aggregations"] = {"mean_probability": {"auc": estimate(0.6, 0.45, 0.7)}}
    worse["aggregations"] = {"mean_probability": {"auc": estimate(0.28, 0.135, 0.456)}}

    assert "chance" not in floor_verdict(known)["text"]
    assert (
        "not shown to beat chance: the interval of its AUC, [0.450, 0.700], holds 0.5"
        in (floor_verdict(unsure)["text"])
    )
    for is_floor in (False, True):
        text = floor_verdict(worse, is_floor=is_floor)["text"]
        assert "worse than chance: the whole interval of its AUC, [0.135, 0.456], lies" in text


def test_a_column_that_tells_nothing_is_no_rival() -> None:
    known = level(floor=estimate(0.035, 0.012, 0.06), tumour_type=estimate(-0.009, -0.02, 0.01))
    known["baselines"]["tumour_type"]["auc"] = estimate(0.40, 0.23, 0.58)

    assert "Tumour type" not in floor_verdict(known)["text"]
