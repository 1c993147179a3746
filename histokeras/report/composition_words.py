"""What a composition says, in words that claim no more than it does, and its warnings."""

from collections.abc import Mapping
from typing import Any

from histokeras.report.caution import Caution
from histokeras.report.text import at, listed, number, percent, plural
from histokeras.tissue import TISSUE_WORDS, tissue_of

_GOOD = 0.95
"""A classifier right in fewer tiles is warned of."""


def named(class_name: str) -> str:
    """Return a class with its tissue in words: "TUM (tumour)"."""
    tissue = tissue_of(class_name)
    return class_name if tissue is None else f"{class_name} ({TISSUE_WORDS[tissue]})"


def main_prefix(metrics: Mapping[str, Any]) -> str:
    """Return the prefix of the columns that are shown: corrected shares where there are some.

    Args:
        metrics: The content of composition.json.
    """
    return "corrected_" if metrics["correction"] else "share_"


def leading_class(metrics: Mapping[str, Any]) -> str:
    """Return the class by which patients are sorted: the tumour, else that of the largest median.

    Args:
        metrics: The content of composition.json.
    """
    classes = [str(name) for name in metrics["classes"]]
    tumour = [name for name in classes if tissue_of(name) == "TUM"]
    columns = {name: f"{main_prefix(metrics)}{name}" for name in classes}
    medians = {name: at(metrics, "summary", "all", columns[name], "median") for name in classes}
    return (tumour or sorted(classes, key=lambda name: -(medians[name] or 0.0)))[0]


def headline(metrics: Mapping[str, Any]) -> str:
    """Return the one line of the page: the leading class's median and quartiles.

    Args:
        metrics: The content of composition.json.
    """
    name = leading_class(metrics)
    found = at(metrics, "summary", "all", f"{main_prefix(metrics)}{name}")
    if not at(found, "n"):
        return f"No {metrics['unit']} has {metrics['min_tiles']} tiles: there are no figures."
    of = plural(found["n"], metrics["unit"])
    share = percent(found["median"]) + (", corrected," if metrics["correction"] else "")
    if found["n"] == 1:
        return f"{named(name)} makes {share} of the tiles of one {metrics['unit']}."
    return (
        f"{named(name)} makes {share} of the tiles in the median of {of} "
        f"(quartiles {percent(found['q1'])} to {percent(found['q3'])})."
    )


def counts(metrics: Mapping[str, Any]) -> list[str]:
    """Return how many tiles, slides and patients there are, where such are known.

    Args:
        metrics: The content of composition.json.
    """
    known = {word: metrics[f"n_{word}s"] for word in ("tile", "slide", "patient")}
    return [plural(n, word) for word, n in known.items() if n or word == "tile"]


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Return what stands below the headline: what was counted, and what was not."""
    counted = " of ".join(counts(metrics))
    said = [f"{counted}."]
    if metrics["excluded"]:
        names = listed([named(name) for name in metrics["excluded"]])
        said.append(f"Left out: {names}. The shares of the other classes make up 1.")
    fat = [name for name in metrics["classes"] if tissue_of(name) == "ADI"]
    if fat and metrics["cut_from_slides"]:
        said.append(
            f"{named(fat[0])} is nearly as bright as glass: tiles of it may have been left out as "
            f"background, so that its share is a lower bound. `--exclude {fat[0]}` tells of the "
            "other tissue."
        )
    if metrics["n_without_figures"]:
        few = plural(metrics["n_without_figures"], metrics["unit"])
        said.append(f"{few} of fewer than {metrics['min_tiles']} tiles: no figures.")
    found = metrics["correction"]
    if found:
        tiles = plural(found["n_tiles"], f"{found['side']} tile")
        resampled = (
            " Their intervals draw these tiles anew as well."
            if metrics["interval"] == "blocks"
            else ""
        )
        said.append(
            f"The corrected shares undo what the classifier confuses on average, by {tiles}, of "
            f"which it got {percent(found['accuracy'])} right.{resampled}"
        )
    return said


def cautions(metrics: Mapping[str, Any]) -> list[Caution]:
    """Return the warnings, the gravest first.

    Args:
        metrics: The content of composition.json.
    """
    found = [
        _balanced(metrics), _labels(metrics), _seen(metrics), _classifier(metrics),
        _wilson(metrics), _few_blocks(metrics),
    ]  # fmt: skip
    return [caution for caution in found if caution is not None]


def _balanced(metrics: Mapping[str, Any]) -> Caution | None:
    if not metrics["class_balanced"]:
        return None
    return Caution(
        "balanced",
        "this dataset is class-balanced by design",
        "Every label stands at the same number of tiles: somebody chose them so. The shares tell "
        "how the tiles were chosen, not what tissue the patients have.",
        "Compose whole slides: `histokeras predict RUN slides/ -o predictions/`.",
    )


def _labels(metrics: Mapping[str, Any]) -> Caution | None:
    levels = [level for level in metrics["label_levels"] if level != "tile"]
    if not levels:
        return None
    return Caution(
        "labels",
        f"the classifier was trained on labels of {levels[0]}s, not of tiles",
        f"Each tile was taught its {levels[0]}'s label, whatever it shows: a share tells how many "
        "tiles look like that class, not how much of a tissue there is.",
        "For tissue take a classifier trained on tiles of known tissue.",
    )


def _seen(metrics: Mapping[str, Any]) -> Caution | None:
    sides, unit = metrics["sides"], metrics["unit"]
    known = {side: sides[side] for side in ("train", "val") if sides.get(side)}
    if not known:
        return None
    n, every = sum(known.values()), sum(sides.values())
    return Caution(
        "seen",
        f"{n:,} of {plural(every, unit)} took part in the training of the run",
        "The classifier knows their tiles: it errs less there than in new patients, and their "
        "composition is optimistic.",
        "Take the rows whose column `split` is test or empty for what is to hold elsewhere.",
    )


def _classifier(metrics: Mapping[str, Any]) -> Caution | None:
    right = metrics["tile_accuracy"]
    if metrics["correction"] or any(level != "tile" for level in metrics["label_levels"]):
        return None
    if right is None:
        return Caution(
            "classifier",
            "how often the classifier is right in tiles is not known here",
            "What it confuses biases every share, and no interval holds that.",
            "Give `--correct RUN` with the run that predicted, if it was trained on tiles.",
        )
    if right >= _GOOD:
        return None
    return Caution(
        "classifier",
        f"the classifier is right in {percent(right)} of its test tiles",
        f"{percent(1 - right)} of the tiles count for another class than they are: shares are "
        "biased towards what is often taken for another, and no interval holds that.",
        "Give `--correct RUN` for shares corrected for what it confuses, and read both.",
    )


def _wilson(metrics: Mapping[str, Any]) -> Caution | None:
    if metrics["interval"] != "wilson":
        return None
    return Caution(
        "wilson",
        "the intervals take tiles as independent",
        "Neighbouring tiles are of one tissue, so that these intervals are too narrow.",
        "Of slides take `--interval blocks`.",
    )


def _few_blocks(metrics: Mapping[str, Any]) -> Caution | None:
    if not metrics["n_few_blocks"]:
        return None
    side = metrics["block_tiles"]
    return Caution(
        "blocks",
        f"{plural(metrics['n_few_blocks'], metrics['unit'])} of fewer than 10 blocks of tiles",
        f"Their tissue fills few squares of {side} x {side} tiles: their intervals are not "
        "reliable, most often too narrow; of a single block there is none.",
        "See the column `n_blocks`; cut smaller tiles, add slides, or take smaller squares with "
        "`--block-tiles`, which neighbours make too sure of.",
    )


def methods(metrics: Mapping[str, Any]) -> str:
    """Return the paragraph of methods, for a paper."""
    unit = metrics["unit"]
    pooled = {
        "tiles": "Patients are the pool of the tiles of all their slides, so that a slide counts "
        "by its area. ",
        "slides": "Patients are the mean of their slides. ",
    }[metrics["pool"]]
    side = metrics["block_tiles"]
    interval = {
        "blocks": f"Intervals (95 %) are percentiles of {metrics['n_resamples']:,} resamples of "
        f"squares of {side} x {side} neighbouring tiles within each slide (seed "
        f"{metrics['seed']}), and of pooled tiles never narrower than Wilson's: they tell how much "
        "other tissue of the same slides might differ, not what the classifier gets wrong, and are "
        "still too narrow where regions of one tissue are wider than these squares.",
        "wilson": "Intervals (95 %) are Wilson's, of tiles as if independent.",
        "none": "No intervals were computed.",
    }[metrics["interval"]]
    text = (
        "The share of a class is the share of kept tiles in which it has the largest probability; "
        "the soft share is its mean probability. "
        + (pooled if unit == "patient" else "")
        + f"A {unit} of fewer than {metrics['min_tiles']} tiles has no figures. Entropy is "
        "Shannon's, in nats, over the classes shown. " + interval
    )
    found = metrics["correction"]
    if found:
        text += (
            " Corrected shares are (Cᵀ)⁻¹q, negative ones set to 0, scaled to sum to 1; q are the "
            f"shares, C the confusion matrix of {found['n_tiles']:,} {found['side']} tiles, its "
            f"rows the truth (condition number {number(found['condition'])})."
        )
    return text


def spoken(metrics: Mapping[str, Any]) -> list[str]:
    """Return what the command line says: the headline, what was counted, and warnings."""
    warned = [f"Warning: {caution.title}." for caution in cautions(metrics)]
    return [headline(metrics), *sentences(metrics), *warned]
