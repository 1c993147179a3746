"""The verdict in words, for a pathologist first."""

from dataclasses import dataclass

from histokeras.analysis.bootstrap import FEW_PATIENTS
from histokeras.report.run_files import RunFiles
from histokeras.report.text import at, interval, is_number, number, percent, plural


@dataclass(frozen=True)
class Verdict:
    """What the page says first.

    Attributes:
        state: ``beaten``, ``not-beaten`` or ``unknown``: the network against the floor.
        headline: One line.
        sentences: What it rests on.
        tiles: Name, figure and remark of the few numbers that count.
    """

    state: str
    headline: str
    sentences: tuple[str, ...]
    tiles: tuple[tuple[str, str, str], ...]


def auc_name(run: RunFiles) -> str:
    """Return "AUC for tumour" or "mean AUC of 3 classes"."""
    of = run.figures.get("auc_of")
    if of and of != "macro":
        # A class called 1 tells nothing without its column.
        return f"AUC for {run.target} = {of}" if run.target else f"AUC for {of}"
    found = sum(1 for count in (run.main.get("n_per_class") or {}).values() if count)
    return f"mean AUC of {found or len(run.classes)} classes"


def verdict(run: RunFiles) -> Verdict:
    """Return the verdict of a run on its main level."""
    if not run.main:
        return Verdict("unknown", "No level could be evaluated.", (), ())
    beaten = at(run.main, "verdict", "beaten")
    state = "beaten" if beaten else "not-beaten" if beaten is False else "unknown"
    whose = "" if run.split == "all" else f"{run.split} "
    n = int(run.main.get("n") or 0)
    auc = run.figures.get("auc")
    count = f"{n:,} {whose}{run.level}{'' if n == 1 else 's'}"
    if run.level != "patient" and run.main.get("n_patients"):
        count += f" of {plural(int(run.main['n_patients']), 'patient')}"
    headline = f"On {count}{_too_few(run)}: {auc_name(run)} {interval(auc)}"
    sentences = [str(at(run.main, "verdict", "text") or ""), _right(run, n), _scale(run)]
    return Verdict(state, headline, tuple(filter(None, sentences)), _tiles(run, n))


def _too_few(run: RunFiles) -> str:
    counts = at(run.main, "n_patients_per_class") or run.main.get("n_per_class") or {}
    return ", too few to tell" if min(counts.values(), default=0) < FEW_PATIENTS else ""


def _right(run: RunFiles, n: int) -> str:
    counts = at(run.figures, "confusion", "counts")
    if not counts or not n:
        return ""
    right = sum(row[i] for i, row in enumerate(counts))
    always = f"; naming always the most frequent class gives {percent(run.main['base_rate'])}" if (
        is_number(run.main.get("base_rate"))
    ) else ""  # fmt: skip
    return (
        f"The predicted class was right in {right:,} of {plural(n, run.level)} "
        f"({percent(right / n)}{always})."
    )


def _scale(run: RunFiles) -> str:
    alpha = run.metrics.get("alpha", 0.05)
    return (
        "AUC: 0.5 is chance, 1 is perfect ranking. Square brackets hold the "
        f"{100 * (1 - alpha):g} % interval, from resampling {run.main.get('resampled_by', 'unit')}s"
        "."
    )


def _tiles(run: RunFiles, n: int) -> tuple[tuple[str, str, str], ...]:
    figures = run.figures
    tiles = [
        (name, number(at(figures, key, "value")), interval(figures.get(key)).partition(" ")[2])
        for name, key in (("AUC", "auc"), ("Balanced accuracy", "balanced_accuracy"))
    ]
    floor = at(run.main, "baselines", "floor", "auc")
    if floor:
        remark = interval(floor).partition(" ")[2]
        tiles.append(("AUC of colour and texture alone", number(at(floor, "value")), remark))
    shares = run.main.get("n_per_class") or {}
    most = ", ".join(f"{name}: {count:,}" for name, count in list(shares.items())[:4])
    tiles.append(
        (f"{run.level.capitalize()}s", f"{n:,}", most + (", …" if len(shares) > 4 else ""))
    )
    return tuple(tiles)
