import numpy as np
import pandas as pd

from histokeras.analysis.collect import collect_predictions
from histokeras.analysis.evaluate import evaluate_levels
from histokeras.analysis.format import format_metrics
from histokeras.analysis.units import EvaluationConfig


def shown(labels: list[str], yes: list[float], **options: object) -> list[str]:
    table = pd.DataFrame(
        {
            "slide_id": [f"S{i}" for i in range(len(labels))],
            "patient_id": [f"P{i}" for i in range(len(labels))],
            "label": labels,
            "prob_no": 1 - np.array(yes),
            "prob_yes": yes,
        }
    )
    if options.pop("anonymous", False):
        table = table.drop(columns="patient_id")
    config = EvaluationConfig(n_resamples=100, **options)  # type: ignore[arg-type]
    metrics = evaluate_levels(collect_predictions([table]), "slide", config=config)
    return format_metrics(metrics).splitlines()


def test_header_tells_level_patients_and_prevalence() -> None:
    lines = shown(["no"] * 6 + ["yes"] * 6, [0.1] * 6 + [0.9] * 6)

    assert lines[0] == "all, patient level: 12 patients; no 6 (50 %), yes 6 (50 %)"
    assert "all, slide level: 12 slides of 12 patients; no 6 (50 %), yes 6 (50 %)" in lines
    assert lines[-1] == "all, tile level: not evaluated (labels stand at the slide level)"


def test_each_figure_has_value_interval_and_n() -> None:
    lines = shown(["no"] * 6 + ["yes"] * 6, [0.1] * 6 + [0.9] * 6)

    assert lines[1].split("  ")[-1] == "n"
    assert lines[2].split() == ["AUC", "yes", *["1.000", "[1.000,", "1.000]"] * 2, "12"]
    assert [line.split("  ")[1] for line in lines[3:8]] == [
        "balanced accuracy",
        "accuracy",
        "F1 macro",
        "F1 no",
        "F1 yes",
    ]
    assert lines[8] == "  [..]: 95 % intervals, 100 resamples of patients"
    assert all(len(line) <= 100 for line in lines)


def test_notes_stand_once_under_the_figures() -> None:
    lines = shown(["no"] * 3 + ["yes"] * 3, [0.1] * 3 + [0.9] * 3, alpha=0.1)

    unreliable = [line for line in lines[:13] if "class yes, class no" in line]
    assert unreliable == [
        "  note: fewer than 5 patients in class yes, class no: interval not reliable"
    ]
    assert any("90 % intervals" in line and "drawn again" in line for line in lines)


def test_undefined_figures_are_dashes() -> None:
    lines = shown(["no"] * 6, [0.1] * 6)

    assert lines[2].split() == ["AUC", "yes", "-", "-", "6"]
    assert "  note: class yes does not occur" in lines


def test_figures_without_patients_are_called_so() -> None:
    text = "\n".join(shown(["no"] * 6 + ["yes"] * 6, [0.1] * 6 + [0.9] * 6, anonymous=True))

    assert "patient level: not evaluated (no patient ids are known)" in text
    assert "slide level: 12 slides; no" in text
    assert "100 resamples of slides" in text
    assert "note: tile-level, not patient-safe" in text


def test_classes_without_a_positive_get_a_line_each() -> None:
    table = pd.DataFrame({"patient_id": ["P0"], "label": ["a"], "prob_a": [0.9], "prob_b": [0.1]})

    metrics = evaluate_levels(collect_predictions([table]), "patient")
    lines = format_metrics(metrics).splitlines()

    assert lines[0] == "all, patient level: 1 patient; a 1 (100 %), b 0 (0 %)"
    assert [line.split("  ")[1] for line in lines[2:5]] == ["AUC macro", "AUC a", "AUC b"]
    assert "1.000 [no interval]" in lines[6]
    assert "  note: one patient: no interval" in lines
