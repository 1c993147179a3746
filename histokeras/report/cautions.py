"""What a reader must be warned of, each with what it means and what to do."""

from collections.abc import Callable, Iterator

import pandas as pd

from histokeras.analysis.concordance import C_INDEX
from histokeras.analysis.verdict import CHANCE, FLOOR_ITSELF
from histokeras.report.caution import Caution
from histokeras.report.finetuning import finetuning_cautions
from histokeras.report.number_cautions import few, no_relation, values_off
from histokeras.report.risk_words import risk_cautions
from histokeras.report.run_files import RunFiles
from histokeras.report.text import at, interval, is_number, listed, number, plural
from histokeras.types import CLASSIFICATION, REGRESSION, SPLITS, SURVIVAL

SMALL_CLASS = 10
"""Below this number of test patients of a class its figures are hardly worth their decimals."""
_CALIBRATED_FROM = 100
"""Below this number of units an interval of the ECE lies above 0.1 by chance (simulated)."""
_FAILED = "failed in extract-features"
_SURELY_OFF = 0.1


def cautions(run: RunFiles) -> list[Caution]:
    """Return the warnings of a run, the gravest first; none for a run without fault."""
    return [caution for check in _CHECKS for caution in check(run)]


def _unfinished(run: RunFiles) -> Iterator[Caution]:
    status = run.record.get("status", "done")
    if status in ("running", "interrupted"):
        yield Caution(
            "unfinished",
            f"The run did not end (status: {status})",
            "Figures and files may be of different runs, or missing.",
            "Run the same command again to finish it, then write this page anew.",
        )


def _lost(run: RunFiles) -> Iterator[Caution]:
    if run.missing:
        yield Caution(
            "files-missing",
            f"Files of this run are missing: {listed(list(run.missing))}",
            "What they told, and warnings that rest on them, is not on this page"
            + (
                ": which weights were used, what was left out or failed."
                if "run.json" in run.missing
                else "."
            ),
            "Make the run anew, and do not remove files from its folder.",
        )


def _side_not_tested(run: RunFiles) -> Iterator[Caution]:
    chosen = ", and the temperature was chosen," if run.task == CLASSIFICATION else ""
    what = {
        "train": "The head and the baselines were fitted to these patients.",
        "val": f"Training stopped{chosen} where these were best.",
    }.get(run.split)
    if what:
        yield Caution(
            "not-test",
            f"These are figures of the {run.split} side, not of the test side",
            f"{what} They do not tell how the network does on new patients.",
            "Quote the test side: `histokeras evaluate RUN` without --side.",
        )


def _patients(run: RunFiles) -> Iterator[Caution]:
    if note := run.note():
        yield Caution(
            "not-patient-safe",
            f"The figures are not patient-safe: {note}",
            "Tissue of one patient may lie on both sides of the split. Tiles of one patient look "
            "alike, so the figures are too good and the intervals too narrow: they do not tell how "
            "the network does on new patients.",
            "Add patient ids (column patient_id, or --slide-table), split by patient and fit anew. "
            "Do not publish these figures as performance on new patients.",
        )


def _mini(run: RunFiles) -> Iterator[Caution]:
    settings = at(run.record, "features", "settings") or {}
    if settings.get("backbone") == "mini" and settings.get("weights") == "bundled":
        yield Caution(
            "mini",
            "The backbone is mini, which was trained on painted tissue alone",
            "It has never seen a real slide. It shows how the tool works; on real lung tiles it is "
            "no better than plain colour and texture.",
            "For a study take --backbone resnet50 or another network with ImageNet weights.",
        )


def _unsigned(run: RunFiles) -> Iterator[Caution]:
    # The patients of an external cohort were not split: `all` of them were tested.
    if run.split != "all" and at(run.record, "split", "signed") is False:
        yield Caution(
            "unsigned-split",
            "The split is unsigned",
            "histokeras did not make the split file, or it was changed since. "
            + (
                "How the sides were chosen is unknown."
                if run.note()
                else "That no patient lies on two sides was checked; how the sides were chosen is "
                "unknown."
            ),
            "Make the split with `histokeras split`, or state in the paper how it was made.",
        )


def _duplicates(run: RunFiles) -> Iterator[Caution]:
    table, known = run.tables["duplicates"], at(run.record, "duplicates") or {}
    action = (
        "Look at the pairs (duplicates.csv). Merge the patients or remove the copies, fit anew."
    )
    across, what = table.get("across"), "near-identical tiles or slides"

    def count(word: str) -> int:
        counted = 0 if across is None else int(across.str.contains(word).sum())
        return max(counted, int(known.get(f"across_{word}") or 0))

    if n_sides := count("sides"):
        yield Caution(
            "duplicates-sides",
            f"{plural(n_sides, 'pair')} of {what} on two sides of the split",
            _meaning_of_sides(table, run.task),
            action,
        )
    if n_patients := count("patients"):
        yield Caution(
            "duplicates-patients",
            f"{plural(n_patients, 'pair')} of {what} under two patients",
            "Two patient ids may be one patient, or a slide was filed twice: patients are then not "
            "independent, and the split by patient may leak.",
            action,
        )


def _meaning_of_sides(table: pd.DataFrame, task: str) -> str:
    seen = "The network was tested on pictures that it had seen in training, or near copies of them"
    if not {"split_a", "split_b"} <= set(table):
        return f"{seen}: the figures are too good."
    sides = [{a, b} for a, b in zip(table["split_a"], table["split_b"], strict=True) if a != b]
    # Folds bear numbers: each is the test side once.
    n_tested = sum(pair == {"train", "test"} or not pair & set(SPLITS) for pair in sides)
    if n_tested:
        return f"{seen} (pairs of training and test: {n_tested:,}): the figures are too good."
    and_more = " and the temperature" if task == CLASSIFICATION else ""
    return (
        "None of them joins training and test. Copies in validation mislead early stopping"
        f"{and_more}, not the test figures."
    )


def _not_compared(run: RunFiles) -> Iterator[Caution]:
    note = str(at(run.record, "duplicates", "note") or "")
    if note:
        yield Caution(
            "not-compared",
            "Copies of tiles were not looked for everywhere",
            f"{note[0].upper()}{note[1:]}. Copies across patients or sides may have been missed.",
            "Make sure by other means that no slide was filed twice.",
        )


def _floor(run: RunFiles) -> Iterator[Caution]:
    # Where nothing is shown at all, the floor is not the point.
    if not run.main or run.task == SURVIVAL or any(no_relation(run)):
        return
    beaten, text = at(run.main, "verdict", "beaten"), at(run.main, "verdict", "text") or ""
    if beaten is False:
        yield Caution(
            "floor-not-beaten",
            "The network did not beat the simple floor",
            "As far as the interval of the difference tells (see the verdict), a regression on "
            "plain colour and texture does as well: the network may have learned stain, scanner or "
            "laboratory rather than morphology.",
            "Check whether labels go with site or staining, test on another site, or try another "
            "backbone. Do not claim that the network reads morphology.",
        )
    elif beaten is None and FLOOR_ITSELF not in text:
        yield Caution(
            "no-floor",
            "It is not known whether the network beats the simple floor",
            f"{text} Plain colour and texture might do as well as the network.".strip(),
            "Add patients, so that the two can be set against each other."
            if at(run.main, "baselines", "floor")
            else "Extract the features anew with this version, which stores colour and texture "
            "beside them, and fit again.",
        )


_COMPARED = {
    CLASSIFICATION: ("auc", "an AUC", CHANCE),
    REGRESSION: ("spearman", "a Spearman correlation", 0.0),
    SURVIVAL: (C_INDEX, "a C-index", CHANCE),
}


def _categories(run: RunFiles) -> Iterator[Caution]:
    figure, said, chance = _COMPARED.get(run.task, _COMPARED[CLASSIFICATION])
    for name, what in (("tumour_type", "Tumour type"), ("site", "The site")):
        difference = at(run.main, "baselines", name, "difference", figure)
        low, reach = at(difference, "low"), at(run.main, "baselines", name, figure, "low")
        if is_number(low) and low <= 0 and is_number(reach) and reach > chance:
            area = number(at(run.main, "baselines", name, figure, "value"))
            yield Caution(
                f"{name.replace('_', '-')}-not-beaten",
                f"{what} alone, without any picture, does as well",
                f"It reaches {said} of {area}; this run minus it: "
                f"{interval(difference, signed=True)}. The label goes with it, and this run may "
                "have learned nothing else.",
                "Look at the figures within one tumour type or site, or balance the cohort.",
            )


def _weights(run: RunFiles) -> Iterator[Caution]:
    weights = str(at(run.record, "features", "settings", "weights") or "")
    if weights.startswith("random"):
        yield Caution(
            "random-weights",
            f"The backbone has random weights ({weights})",
            "The network was never trained on pictures. Such features serve for trials of the "
            "pipeline; their figures say little about what is possible.",
            "Extract the features anew with --weights imagenet or a weights file.",
        )


def _classes(run: RunFiles) -> Iterator[Caution]:
    patients = at(run.main, "n_patients_per_class")
    counts = patients or at(run.main, "n_per_class") or {}
    word = "patient" if patients else run.level
    absent = [name for name, count in counts.items() if count == 0]
    small = [f"{name} ({count})" for name, count in counts.items() if 0 < count < SMALL_CLASS]
    where = "in the cohort" if run.split == "all" else f"on the {run.split} side"
    tested_once = run.record.get("command") == "fit-head" and not at(run.record, "split", "folds")
    cross_validate = (
        ", or use cross-validation (--cv) so that every patient is tested once"
        if tested_once and patients
        else ""
    )
    if absent:
        yield Caution(
            "missing-class",
            f"No {word} of {listed(absent)} {where}",
            "Nothing can be said about a class that does not occur; means over the classes leave "
            "it out.",
            "Add such patients, or split anew so that every side holds every class.",
        )
    if small:
        yield Caution(
            "small-class",
            f"Classes of fewer than {SMALL_CLASS} {word}s {where}: {listed(small)}",
            f"A single {word} more or less changes the figures visibly, and intervals of so few "
            "are too narrow as a rule.",
            f"Read the interval, not the figure. Add {word}s{cross_validate}.",
        )


def _failed(run: RunFiles) -> Iterator[Caution]:
    dropped, failures = run.tables["dropped"], run.tables["failures"]
    names = set(dropped.loc[dropped["reason"] == _FAILED, "id"]) if "reason" in dropped else set()
    names |= set(failures["slide"]) if "slide" in failures else set()
    slides = run.record.get("slides") or []
    names |= {str(row.get("slide")) for row in slides if row.get("outcome") == "failed"}
    if names:
        yield Caution(
            "failed-slides",
            f"{plural(len(names), 'slide')} failed: {listed(sorted(names))}",
            "They are not in the figures. If they failed for a reason that goes with the label "
            "(one scanner, one site), the figures are biased.",
            "See failures.csv of the feature folder, repair the files, and extract and fit again.",
        )


def _calibration(run: RunFiles) -> Iterator[Caution]:
    ece = at(run.main, "calibration", "after", "ece") or {}
    enough = int(run.main.get("n_patients") or run.main.get("n") or 0) >= _CALIBRATED_FROM
    if enough and is_number(ece.get("low")) and ece["low"] > _SURELY_OFF:
        yield Caution(
            "calibration",
            "The probabilities are not well calibrated",
            f"The calibration error (ECE) of the {run.split} side is {interval(ece)}: stated "
            "probabilities and what came true differ by that much on average.",
            "Use the ranking and the chosen class, not the probability itself; more validation "
            "patients make the temperature steadier.",
        )


def _not_evaluated(run: RunFiles) -> Iterator[Caution]:
    if not run.levels:
        found = at(run.metrics, "splits", run.split) or {}
        reasons = [f"{level}: {values.get('reason')}" for level, values in found.items()]
        yield Caution(
            "not-evaluated",
            "No level could be evaluated",
            "; ".join(reasons) or "metrics.json holds no figures.",
            "Check the labels and the split.",
        )


_CHECKS: tuple[Callable[[RunFiles], Iterator[Caution]], ...] = (
    _unfinished, _lost, _not_evaluated, _side_not_tested, _patients, _duplicates, _not_compared,
    no_relation, risk_cautions, _floor, finetuning_cautions, _categories, values_off, _weights,
    _mini, _unsigned, _classes, few, _failed, _calibration,
)  # fmt: skip
