"""The verdict on predicted numbers in words: the counterpart of ``words``."""

from histokeras.report.run_files import RunFiles
from histokeras.report.text import at, digits, interval, measured, number, plural
from histokeras.report.words import Verdict

_FEW = 10


def number_verdict(run: RunFiles) -> Verdict:
    """Return the verdict of a run on its main level."""
    if not run.main:
        return Verdict("unknown", "No level could be evaluated.", (), ())
    beaten = at(run.main, "verdict", "beaten")
    state = "beaten" if beaten else "not-beaten" if beaten is False else "unknown"
    whose = "" if run.split == "all" else f"{run.split} "
    n = int(run.main.get("n") or 0)
    count = f"{n:,} {whose}{run.level}{'' if n == 1 else 's'}"
    if run.level != "patient" and run.main.get("n_patients"):
        count += f" of {plural(int(run.main['n_patients']), 'patient')}"
    too_few = ", too few to tell" if n < _FEW else ""
    headline = (
        f"On {count}{too_few}: Spearman {interval(run.figures.get('spearman'))} between predicted "
        f"and true {run.target}"
    )
    sentences = (str(at(run.main, "verdict", "text") or ""), _scale(run))
    return Verdict(state, headline, tuple(filter(None, sentences)), _tiles(run, n))


def _scale(run: RunFiles) -> str:
    alpha = run.metrics.get("alpha", 0.05)
    return (
        "Spearman: 0 is chance, 1 is perfect ranking. R²: 1 is perfect; 0 is what the mean of "
        "these true numbers would reach, which nobody knows beforehand. Square brackets hold the "
        f"{100 * (1 - alpha):g} % interval, from resampling "
        f"{run.main.get('resampled_by', 'unit')}s."
    )


def _tiles(run: RunFiles, n: int) -> tuple[tuple[str, str, str], ...]:
    figures = run.figures
    tiles = [
        (name, number(at(figures, key, "value")), interval(figures.get(key)).partition(" ")[2])
        for name, key in (("Spearman", "spearman"), ("R²", "r2"))
    ]
    error = figures.get("mae")
    tiles.append(
        ("Mean absolute error", digits(at(error, "value")), measured(error).partition(" ")[2])
    )
    floor = at(run.main, "baselines", "floor", "spearman")
    if floor:
        remark = interval(floor).partition(" ")[2]
        tiles.append(("Spearman of colour and texture alone", number(at(floor, "value")), remark))
    target = run.main.get("target") or {}
    spread = f"{run.target} {digits(target.get('min'))} to {digits(target.get('max'))}"
    tiles.append((f"{run.level.capitalize()}s", f"{n:,}", spread))
    return tuple(tiles)
