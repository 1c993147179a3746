"""What the page of a run of survival holds in place of what classes need."""

from typing import Any

from histokeras.report import risk_tables as tables
from histokeras.report.more_plots import history_plots
from histokeras.report.plots import Plot
from histokeras.report.risk_plots import survival_plot
from histokeras.report.risk_words import risk_verdict
from histokeras.report.run_files import RunFiles

RISK_FILES = {
    "curves.json": "Kaplan-Meier curves of test patients of high and low risk",
    "patients.csv": "one row a patient: side, time, event, risk, group, risks of the baselines",
    "slides.csv": "one row a slide: side, mean risk of its tiles",
    "predictions": "one table a slide: the risk of every tile",
}
"""What files hold where they hold something else than for classes."""


def risk_content(run: RunFiles) -> tuple[dict[str, Any], list[Plot]]:
    """Return the parts of the page, and the plots whose data are written."""
    found = {"survival": survival_plot(run)}
    history = history_plots(run)
    plots = [plot for plot in (*found.values(), *history) if plot is not None]
    content = {
        "verdict": risk_verdict(run),
        "sides": tables.risk_sides_table(run),
        "figures": [
            tables.risk_figures_table(run),
            tables.risk_groups_table(run),
            tables.risk_other_sides_table(run),
        ],
        "baselines": tables.risk_baseline_table(run),
        "baselines_title": "Is it more than what is known without a picture?",
        "folds": None,
        "plots": found,
        "history": history,
        "confusion": None,
        "calibration": None,
    }
    return content, plots
