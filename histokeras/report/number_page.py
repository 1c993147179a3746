"""What the page of a run that predicts a number holds in place of what classes need."""

from typing import Any

from histokeras.report import number_tables as tables
from histokeras.report.more_plots import history_plots
from histokeras.report.number_plots import errors_plot, scatter_plot
from histokeras.report.number_words import number_verdict
from histokeras.report.plots import Plot
from histokeras.report.run_files import RunFiles

MORE_THAN_COLOUR = "Is it more than colour?"
NUMBER_FILES = {
    "curves.json": "empty: predicted numbers have no curves",
    "patients.csv": "one row a patient: side, true and predicted number, type and site",
    "slides.csv": "one row a slide: side, true and predicted number",
    "predictions": "one table a slide: the predicted number of every tile",
}
"""What files hold where they hold something else than for classes."""


def number_content(run: RunFiles) -> tuple[dict[str, Any], list[Plot]]:
    """Return the parts of the page, and the plots whose data are written."""
    found = {"scatter": scatter_plot(run), "errors": errors_plot(run)}
    history = history_plots(run)
    plots = [plot for plot in (*found.values(), *history) if plot is not None]
    content = {
        "verdict": number_verdict(run),
        "sides": tables.number_sides_table(run),
        "figures": [*tables.number_figure_tables(run), tables.number_other_sides_table(run)],
        "baselines": tables.number_baseline_table(run),
        "baselines_title": MORE_THAN_COLOUR,
        "folds": tables.number_fold_table(run),
        "plots": found,
        "history": history,
        "confusion": None,
        "calibration": None,
    }
    return content, plots
