"""What the figures of clusters say, in words that claim no more than they do."""

from collections.abc import Mapping
from typing import Any

from histokeras.report.caution import Caution
from histokeras.report.text import at, number, percent, plural
from histokeras.types import LABEL, SLIDE_ID

_FEWEST = 20
"""From fewer patients no headline is made."""
_SITE_ACTION = (
    "Look at the gallery: do the clusters differ in stain, thickness or focus rather than in "
    "tissue? Extract the features with `--stain-norm`, cluster again, and split with "
    "`--preserve-site` before anything is learned."
)


def unit_of(metrics: Mapping[str, Any]) -> str:
    """Return what counts as a patient: ``patient``, or ``slide`` or ``tile`` in its place."""
    return str(metrics.get("unit") or "patient")


def headline(metrics: Mapping[str, Any]) -> str:
    """Return the one line of the page: with what the clusters agree, as far as figures tell.

    Args:
        metrics: The content of metrics.json.
    """
    low, high = _interval(metrics)
    if low is not None and low > 0:
        return "The clusters agree more with the site than with the label."
    if high is not None and high < 0:
        return "The clusters agree more with the label than with the site."
    side, found = _of_label(metrics)
    if found is None:
        return "There are no labels to compare with: look at what the clusters hold."
    if found["n"] < _FEWEST:
        labelled = plural(found["n"], f"labelled {unit_of(metrics)}")
        return f"{labelled}: too few to say what clusters agree with."
    of = f"of {plural(found['n'], f'{side} {unit_of(metrics)}'.removeprefix('all '))}"
    return (
        f"The clusters match the label {of} at {percent(found['acc'])}; the largest label alone "
        f"makes {percent(found['largest_group'])}."
    )


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Return what stands below the headline: figures of site and label, and what slides tell.

    Args:
        metrics: The content of metrics.json.
    """
    return [text for text in (_site_sentence(metrics), _slide_sentence(metrics)) if text]


def caution(metrics: Mapping[str, Any]) -> Caution | None:
    """Return the warning where clusters agree with the site more than with the label, else None.

    Args:
        metrics: The content of metrics.json.
    """
    low, _ = _interval(metrics)
    if low is None or low <= 0:
        return None
    return Caution(
        "site",
        "the clusters may show where slides were made",
        "Site and cluster go together more than label and cluster. Stain, scanner and preparation "
        "differ between sites; so may the patients, which these figures cannot tell apart.",
        _SITE_ACTION,
    )


def _interval(metrics: Mapping[str, Any]) -> tuple[float | None, float | None]:
    if (at(metrics, "site_or_label", "n") or 0) < _FEWEST:
        return None, None
    difference = at(metrics, "site_or_label", "difference")
    return at(difference, "low"), at(difference, "high")


def _of_label(metrics: Mapping[str, Any]) -> tuple[str, Any]:
    """Return test and its figures; of too few test patients those of all sides."""
    own = at(metrics, "agreement", metrics["method"])
    found = at(own, "test", "patient", LABEL)
    if found is not None and found["n"] >= _FEWEST:
        return "test", found
    return "all", at(own, "all", "patient", LABEL)


def _site_sentence(metrics: Mapping[str, Any]) -> str:
    found = metrics.get("site_or_label")
    if not found or found["n"] < _FEWEST:
        return ""
    difference = found["difference"]
    low, high = difference["low"], difference["high"]
    text = (
        f"Over {plural(found['n'], unit_of(metrics))} of all sides, each in the cluster of most "
        f"of its tiles, the adjusted Rand index is {number(found['first'])} with the site and "
        f"{number(found['second'])} with the label; difference "
        f"{number(difference['value'], signed=True)} [{number(low)}, {number(high)}] (95 % of "
        f"resamples of {unit_of(metrics)}s)."
    )
    if low <= 0 <= high:
        text += " This does not tell which of both the clusters follow more."
    return text


def _slide_sentence(metrics: Mapping[str, Any]) -> str:
    tiles = at(metrics, "agreement", metrics["method"], "all", "tile")
    slide, label = at(tiles, SLIDE_ID), at(tiles, LABEL)
    if slide is None or "inverse_purity" not in slide:
        return ""
    text = (
        f"Who knows nothing guesses the cluster of {percent(slide['largest_cluster'])} of tiles "
        f"right (the largest); who knows their slide, of {percent(slide['inverse_purity'])}"
    )
    if label is None or label["n"] != slide["n"]:
        return f"{text}."
    return (
        f"{text}; who knows only their label, of {percent(label['inverse_purity'])}. A slide tells "
        "at least as much as the label it bears: only a wide gap says that clusters follow slides."
    )
