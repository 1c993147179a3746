"""What the page of survival says in words, and how its axes are marked."""

from typing import Any

from histokeras.report.survival_plots import hazard_plot, time_ticks
from histokeras.report.survival_words import cautions, headline


def _term(name: str, **more: Any) -> dict[str, Any]:
    term = {"name": name, "column": name, "coef": 0.7, "se": 0.2, "hazard_ratio": 2.0, "low": 1.4,
            "high": 3.0, "p": 0.001, "correlation": 0.0, "proportional_p": 0.5}  # fmt: skip
    return {**term, **more}


def _metrics(**more: Any) -> dict[str, Any]:
    alone = {"model": "univariable", "columns": ["T"], "n": 90, "n_events": 40, "problem": "",
             "notes": [], "terms": [_term("T")]}  # fmt: skip
    known = {"n": 90, "n_events": 40, "few_events": False, "n_complete": 90, "models": [alone],
             "compared": {"computed": True, "models": {}}}  # fmt: skip
    return {**known, **more}


def _estimate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def test_a_ratio_that_changes_over_time_is_warned_of_with_its_direction() -> None:
    metrics = _metrics()
    quiet = cautions(metrics)
    metrics["models"][0]["terms"] = [
        _term("fading", correlation=-0.4, proportional_p=0.01),
        _term("growing", coef=-0.7, correlation=-0.4, proportional_p=0.0001),
    ]
    found = cautions(metrics)

    assert not quiet
    assert [caution.code for caution in found] == ["changing"]
    assert "fading (p = 0.010: weaker as time goes on)" in found[0].meaning
    assert "growing (p < 0.001: stronger as time goes on)" in found[0].meaning


def test_what_is_beyond_clinical_columns_is_claimed_only_where_the_interval_tells() -> None:
    def said(low: float, high: float) -> str:
        models = {
            "clinical": {"c_index": _estimate(0.6, 0.5, 0.7)},
            "clinical+table": {
                "c_index": _estimate(0.62, 0.5, 0.7), "difference": _estimate(0.02, low, high)
            },
        }  # fmt: skip
        return headline(_metrics(compared={"computed": True, "models": models}))

    assert said(0.01, 0.03).startswith("Tissue tells more than clinical columns alone")
    assert said(-0.01, 0.05).startswith("Tissue adds nothing that can be told from chance")
    assert said(-0.05, -0.01).startswith("Tissue made clinical columns worse")
    alone = {"clinical": {"c_index": _estimate(0.6, 0.45, 0.75)}}
    found = headline(_metrics(compared={"computed": True, "models": alone}))
    assert found.endswith("not to be told from chance.")


def test_few_events_a_term_and_incomplete_patients_are_warned_of() -> None:
    both = {"model": "clinical", "columns": ["T", "N"], "n": 90, "n_events": 15, "problem": "",
            "notes": [], "terms": [_term("T"), _term("N")]}  # fmt: skip
    bad = {**both, "problem": "20 events are too few for 7 terms", "terms": []}

    codes = [caution.code for caution in cautions(_metrics(models=[both, bad], n_complete=60))]

    assert codes == ["not-fitted", "unsteady", "incomplete"]


def test_time_is_marked_in_whole_years_where_they_fit() -> None:
    assert time_ticks(95.9, "months") == [0, 24, 48, 72]
    assert time_ticks(60, "months") == [0, 12, 24, 36, 48, 60]
    assert time_ticks(2000, "days") == [0, 365, 730, 1095, 1460, 1825]
    assert time_ticks(11, "") == [0, 2, 4, 6, 8, 10]


def test_hazard_ratios_beyond_the_axis_are_drawn_to_its_end() -> None:
    plot = hazard_plot(_metrics()["models"])
    far = _metrics()["models"]
    far[0]["terms"] = [_term("wide", low=0.001, high=500.0, hazard_ratio=90.0)]

    assert plot is not None
    assert "T" in plot.svg
    wide = hazard_plot(far)
    assert wide is not None
    assert "wide" in wide.svg
    assert hazard_plot([]) is None
