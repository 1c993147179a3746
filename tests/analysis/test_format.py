import re

import numpy as np
import pandas as pd

from histokeras.analysis.collect import collect_predictions
from histokeras.analysis.evaluate import evaluate_levels
from histokeras.analysis.format import format_metrics
from histokeras.analysis.units import EvaluationConfig, Units, evaluate_units


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
    assert "all, slide level: as at patient level, each patient has one slide" in lines
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
    assert [line.split("  ")[1] for line in lines[8:12]] == [
        "PR-AUC yes",
        "sensitivity at specificity 0.9",
        "Brier score",
        "ECE",
    ]
    # Shares of tiles are no probabilities.
    assert lines[10].split() == ["Brier", "score", "0.010", "[0.010,", "0.010]", "-", "12"]
    assert lines[12] == "  [..]: 95 % intervals, 100 resamples of patients"
    assert all(len(line) <= 100 for line in lines)


def test_notes_stand_once_under_the_figures() -> None:
    lines = shown(["no"] * 3 + ["yes"] * 3, [0.1] * 3 + [0.9] * 3, alpha=0.1)

    unreliable = [line for line in lines[:17] if "class no, class yes" in line]
    assert unreliable == [
        "  note: fewer than 5 patients in class no, class yes: interval not reliable"
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


def with_baselines(**changes: object) -> list[str]:
    targets = np.arange(40) % 2
    rng = np.random.default_rng(0)
    yes = np.clip(0.3 + 0.4 * targets + rng.normal(0, 0.1, 40), 0.01, 0.99)
    scores = np.column_stack([1 - yes, yes])
    level = evaluate_units(
        Units(
            level="patient",
            targets=targets,
            scores={"mean_probability": scores, "share_of_tiles": scores},
            patients=np.arange(40),
            raw={"mean_probability": scores**2 / (scores**2).sum(axis=1, keepdims=True)},
            baselines={
                "majority": np.tile([0.5, 0.5], (40, 1)),
                "floor": np.column_stack([yes, 1 - yes]),
            },
        ),
        ("no", "yes"),
        positive="yes",
        config=EvaluationConfig(n_resamples=100),
    )
    metrics = {"splits": {"test": {"patient": level | changes}}, "alpha": 0.05, "n_resamples": 100}
    return format_metrics(metrics).splitlines()


def test_baselines_and_the_verdict_stand_under_the_figures() -> None:
    lines = with_baselines()

    begin = next(n for n, line in enumerate(lines) if line.startswith("  simple baseline"))
    assert lines[begin + 1].startswith("  majority class")
    assert "0.500 [0.500, 0.500]" in lines[begin + 1]
    assert lines[begin + 2].startswith("  colour and texture, no network  ")
    assert lines[begin + 2].endswith("  +1.000 [+1.000, +1.000]")
    assert lines[begin + 3].startswith("  The network beats colour and texture alone: AUC ")
    assert all(len(line) <= 100 for line in lines)


def test_calibration_is_told_before_and_after_scaling() -> None:
    (line,) = [line for line in with_baselines() if "temperature scaling" in line]

    assert re.fullmatch(
        r"  temperature scaling: Brier 0\.\d{3} -> 0\.\d{3}, ECE 0\.\d{3} -> 0\.\d{3}", line
    )


def test_folds_stand_in_one_line() -> None:
    folds = [
        {"fold": k, "n": 20, "auc": area, "balanced_accuracy": 0.8, "accuracy": 0.8, "f1_macro": 0}
        for k, area in enumerate([0.91, None])
    ]

    assert "  folds: AUC 0.91 -; balanced accuracy 0.80 0.80" in with_baselines(folds=folds)
    assert not any("folds" in line for line in with_baselines(folds=None))


def test_without_baselines_there_is_no_verdict() -> None:
    lines = with_baselines(baselines={}, calibration=None)

    assert not any("network" in line or "scaling" in line for line in lines)
