"""The verdict on predicted risks in words: the counterpart of ``words``."""

from collections.abc import Iterator

from histokeras.analysis.compare import CLINICAL, IMAGE
from histokeras.analysis.concordance import C_INDEX
from histokeras.analysis.verdict import CHANCE
from histokeras.report.caution import Caution
from histokeras.report.run_files import RunFiles
from histokeras.report.text import DASH, at, interval, is_number, number, plural
from histokeras.report.words import Verdict
from histokeras.types import SURVIVAL

_FEW = 30


def risk_verdict(run: RunFiles) -> Verdict:
    """Return the verdict of a run on its test patients."""
    if not run.main:
        return Verdict("unknown", "No figures: too few events were tested.", (), ())
    beaten = at(run.main, "verdict", "beaten")
    state = "beaten" if beaten else "not-beaten" if beaten is False else "unknown"
    n, n_events = int(run.main.get("n") or 0), int(run.main.get("n_events") or 0)
    too_few = ", too few to tell" if n_events < _FEW else ""
    headline = (
        f"On {plural(n, f'{run.split} patient')} with {plural(n_events, 'event')}{too_few}: "
        f"C-index {interval(run.figures.get(C_INDEX))}"
    )
    scale = (
        "C-index: of two patients, how often the one of higher risk had the event first; 0.5 is "
        f"chance, 1 is perfect. Square brackets hold {100 * (1 - run.metrics.get('alpha', 0.05)):g}"
        " % intervals, of the C-index from resampling patients, of hazard ratios by Wald."
    )
    text = str(at(run.main, "verdict", "text") or "")
    return Verdict(state, headline, tuple(filter(None, (text, scale))), _tiles(run, n, n_events))


def _tiles(run: RunFiles, n: int, n_events: int) -> tuple[tuple[str, str, str], ...]:
    ratio = run.figures.get("hazard_ratio")
    named = [("C-index", run.figures.get(C_INDEX)), ("Hazard ratio of 1 SD of risk", ratio)]
    for baseline, words in ((CLINICAL, "clinical columns"), (IMAGE, "the image")):
        known = at(run.main, "baselines", baseline, C_INDEX)
        if known:
            named.append((f"C-index of {words} alone", known))
    tiles = [
        (name, number(at(found, "value")), interval(found).partition(" ")[2])
        for name, found in named
    ]
    tiles.append(("Patients", f"{n:,}", plural(n_events, "event")))
    return tuple(tiles)


def p_text(p: object) -> str:
    """Return a p-value as a reader writes it: two digits that count, not below 0.0001."""
    if not is_number(p):
        return DASH
    value = float(p)  # type: ignore[arg-type]
    return "below 0.0001" if value < 1e-4 else f"{value:.2g}"


def risk_cautions(run: RunFiles) -> Iterator[Caution]:
    """Warn where no relation to survival is shown, or where few events were tested."""
    if run.task != SURVIVAL or not run.main:
        return
    own = run.figures.get(C_INDEX) or {}
    low, n_events = own.get("low"), int(run.main.get("n_events") or 0)
    if not (is_number(low) and float(low) > CHANCE):  # type: ignore[arg-type]
        yield Caution(
            "no-relation",
            "No relation to survival is shown",
            f"The C-index is {interval(own)}: {CHANCE}, which is chance, is not excluded.",
            "Do not use these risks. More patients, longer follow-up or another backbone may help.",
        )
    if n_events < _FEW:
        yield Caution(
            "few-events",
            f"Only {plural(n_events, 'event')} tested",
            "What a study of survival can tell depends on its events, not on its patients: with so "
            "few, one more or less changes the figures visibly.",
            "Read the interval, not the figure; test on another cohort.",
        )
