"""What the page of a segmentation says in words: verdict, warnings, methods."""

from collections.abc import Iterator, Mapping
from typing import Any

from histokeras.analysis.bootstrap import FEW_PATIENTS
from histokeras.analysis.boundary import MEASURED
from histokeras.analysis.segmentation import NETWORK, NOT_MEASURED
from histokeras.analysis.segmentation_verdict import FIGURE_WORDS
from histokeras.report.caution import Caution
from histokeras.report.text import at, interval, is_number, listed, number, percent, plural
from histokeras.report.words import Verdict

_RARE = 0.1
_FEW_SHARES = 10
_NETWORKS = {"deeplabv3": "DeepLabV3", "deeplabv3+": "DeepLabV3+", "unet": "U-Net"}
Named = Mapping[str, Any]


def segmentation_verdict_of(metrics: Named) -> Verdict:
    """Return what the page says first.

    Args:
        metrics: The content of metrics.json.
    """
    beaten = at(metrics, "verdict", "beaten")
    state = "beaten" if beaten else "not-beaten" if beaten is False else "unknown"
    sentences = (str(at(metrics, "verdict", "text") or ""), _scale(metrics), _constant(metrics))
    return Verdict(state, headline(metrics), tuple(filter(None, sentences)), _tiles(metrics))


def headline(metrics: Named) -> str:
    """Return one line: what was tested, and the figure that counts."""
    name = str(metrics["main_figure"])
    figure = at(metrics, "models", NETWORK, "pooled", name)
    few = ", too few to tell" if int(metrics["n_units"]) < FEW_PATIENTS else ""
    of = f" of {metrics['positive']}" if metrics["positive"] is not None else ""
    return f"On {tested(metrics)}{few}: {FIGURE_WORDS[name]}{of} {interval(figure)}"


def tested(metrics: Named) -> str:
    """Return "12 test images of 6 patients"."""
    text = plural(int(metrics["n_images"]), "test image")
    if metrics["resampled_by"] != "image":
        text += f" of {plural(int(metrics['n_units']), str(metrics['resampled_by']))}"
    return text


def _scale(metrics: Named) -> str:
    alpha = metrics.get("alpha", 0.05)
    return (
        "Dice and IoU: 0 is no overlap with the truth, 1 is the same outline. Square brackets hold "
        f"the {100 * (1 - alpha):g} % interval, from resampling {metrics['resampled_by']}s."
    )


def _constant(metrics: Named) -> str:
    constant, network = metrics["constant"], at(metrics, "models", NETWORK, "pooled")
    accuracy = at(network, "pixel_accuracy", "value")
    if not is_number(constant.get("pixel_accuracy")) or not is_number(accuracy):
        return ""
    return (
        f"Of all pixels {percent(accuracy)} are right; calling every pixel {constant['class']} "
        f"would get {percent(constant['pixel_accuracy'])} right, with Dice "
        f"{number(constant.get('dice', constant.get('mean_dice')))}."
    )


def _tiles(metrics: Named) -> tuple[tuple[str, str, str], ...]:
    network = metrics["models"][NETWORK]["pooled"]
    keys = ("dice", "iou") if metrics["positive"] is not None else ("mean_iou", "mean_dice")
    words = {"dice": "Dice", "iou": "IoU", "mean_iou": "Mean IoU", "mean_dice": "Mean Dice"}
    tiles = [
        (words[key], number(network[key]["value"]), interval(network[key]).partition(" ")[2])
        for key in keys
    ]
    floors = [model for name, model in metrics["models"].items() if name != NETWORK]
    known = [m for m in floors if is_number(at(m, "pooled", keys[0], "value"))]
    if known:
        best = max(known, key=lambda model: float(model["pooled"][keys[0]]["value"]))
        figure = best["pooled"][keys[0]]
        remark = interval(figure).partition(" ")[2]
        tiles.append((f"{words[keys[0]]}, {best['title']}", number(figure["value"]), remark))
    remark = plural(int(metrics["n_units"]), "patient")
    unknown = metrics["resampled_by"] != "patient"
    tiles.append(
        ("Test images", f"{metrics['n_images']:,}", "patients unknown" if unknown else remark)
    )
    return tuple(tiles)


def segmentation_cautions(metrics: Named, card: Named) -> list[Caution]:
    """Return the warnings, the gravest first.

    Args:
        metrics: The content of metrics.json.
        card: That of the network; {} if unknown.
    """
    return [
        *_few(metrics),
        *_unknown_patients(metrics),
        *_floors(metrics),
        *_random_weights(card),
        *_absent(metrics),
        *_rare(metrics),
        *_shares(metrics),
    ]


def _few(metrics: Named) -> Iterator[Caution]:
    n = int(metrics["n_units"])
    if n >= FEW_PATIENTS:
        return
    yield Caution(
        "few-patients",
        f"Only {plural(n, str(metrics['resampled_by']))} tested",
        "Intervals come from resampling them: of so few they are hardly more than the smallest and "
        "the largest figure, and nothing is claimed of the network against simpler ways.",
        "Test more patients; with --cv every patient is tested once.",
    )


def _unknown_patients(metrics: Named) -> Iterator[Caution]:
    if metrics["resampled_by"] == "patient":
        return
    yield Caution(
        "unknown-patients",
        "The images' patients are not known",
        "Images of one patient are alike: if some were learned from and others tested, figures are "
        "too good, and intervals are too narrow in any case.",
        "Name the patient of each image in a table: --pairs.",
    )


def _floors(metrics: Named) -> Iterator[Caution]:
    against: Named = at(metrics, "verdict", "against") or {}
    for key, state in against.items():
        if state not in ("worse", "not shown"):
            continue
        title = at(metrics, "models", key, "title") or key
        name = str(metrics["main_figure"])
        difference = at(metrics, "models", key, "difference", "pooled", name)
        does, learned = {
            "worse": ("does better", "The network is not needed."),
            "not shown": ("may do as well", "What the network learned beyond it is not shown."),
        }[state]
        yield Caution(
            f"{key}-not-beaten",
            f"{title[0].upper()}{title[1:]} {does}",
            f"{FIGURE_WORDS[name]}, network minus it: {interval(difference, signed=True)}. "
            f"{learned}",
            "Look at the outlines below; train longer, on more images, or with other weights.",
        )


def _random_weights(card: Named) -> Iterator[Caution]:
    weights = str(card.get("weights") or "")
    if weights.startswith("random"):
        yield Caution(
            "random-weights",
            f"The backbone began with random weights ({weights})",
            "It had never been trained on pictures, and learned from these images alone.",
            "Fit anew with --weights imagenet or a weights file.",
        )


def _absent(metrics: Named) -> Iterator[Caution]:
    name = metrics["positive"]
    without = int(at(metrics, "images_without", str(name)) or 0) if name is not None else 0
    if not without:
        return
    n = int(metrics["n_images"])
    if without == n:
        yield Caution(
            "absent",
            f"No test image shows {name}",
            "No figure of it has a meaning.",
            f"Test images that show {name} too.",
        )
        return
    neither = int(at(metrics, "models", NETWORK, "undefined", "image_mean", "dice") or 0)
    yield Caution(
        "absent",
        f"{without:,} of {plural(n, 'test image')} show no {name}",
        f"Of {neither:,} of them the network says so too: their Dice is not defined, and they are "
        f"left out of means over images and patients. Of {without - neither:,} it marks some "
        "pixels, and their Dice is 0, however few. The pooled figures hold them all.",
        "Compare pooled figures, and look at precision.",
    )


def _rare(metrics: Named) -> Iterator[Caution]:
    share = at(metrics, "prevalence", str(metrics["positive"]))
    if metrics["positive"] is None or not is_number(share) or not 0 < share < _RARE:
        return
    yield Caution(
        "rare",
        f"{metrics['positive']} is {100 * share:.1f} % of the pixels",
        "Pixel accuracy and R\u00b2 of pixels say little then: marking nothing at all gets "
        f"{100 * (1 - share):.1f} % of the pixels right.",
        "Judge by Dice, IoU, precision and recall.",
    )


def _shares(metrics: Named) -> Iterator[Caution]:
    n = at(metrics, "models", NETWORK, "share", "n")
    if not is_number(n) or not FEW_PATIENTS <= n < _FEW_SHARES:
        return
    yield Caution(
        "few-shares",
        f"R\u00b2 of shares rests on {plural(int(n), str(metrics['resampled_by']))}",
        "One of them with a very large or small share can make or break it.",
        "Look at the scatter plot, not at the figure alone.",
    )


def boundary_note(metrics: Named) -> str:
    """Return of how many images boundaries were measured, and why not of others."""
    states: Named = at(metrics, "models", NETWORK, "boundary") or {}
    if not states:
        return ""
    others = [f"{n:,}: {state}" for state, n in states.items() if state != MEASURED and n]
    measured = int(states.get(MEASURED, 0))
    if not measured and set(states) <= {MEASURED, NOT_MEASURED}:
        return ""
    left = f" Left out: {listed(others)}." if others else ""
    return (
        f"Distances of boundaries are of {plural(measured, 'image')}, and of the line between "
        f"classes alone: the edge of a picture and unlabelled pixels are none.{left}"
    )


def segmentation_methods(record: Named, metrics: Named, card: Named) -> str:
    """Return the methods paragraph, plain text; what is unknown is left out."""
    parts = (_trained(card), _split(record, metrics), _judged(metrics), _floors_text(metrics))
    return " ".join(filter(None, parts))


def _trained(card: Named) -> str:
    network = _NETWORKS.get(str(card.get("network")), str(card.get("network") or ""))
    if not network:
        return ""
    text = f"Pixels were classified by {network}"
    text += " on their luminance alone" if card.get("n_inputs") == 1 else ""
    if card.get("backbone"):
        text += f" on {card['backbone']} (weights: {card.get('weights') or 'unknown'}"
        stride = card.get("output_stride")
        text += f"; output stride {stride})" if stride else ")"
    if card.get("crop_px"):
        text += f", trained on crops of {card['crop_px']:,} x {card['crop_px']:,} pixels"
    if is_number(card.get("mpp")):
        text += f" at {card['mpp']:g} \u00b5m per pixel"
    return f"{text}."


def _split(record: Named, metrics: Named) -> str:
    folds = at(record, "split", "folds")
    unit = metrics["resampled_by"]
    if is_number(folds):
        return f"Every {unit} was tested once, in one of {folds} folds of {unit}s."
    return f"Tested {unit}s were not learned from."


def _judged(metrics: Named) -> str:
    unit = metrics["resampled_by"]
    text = (
        "Pixels without a label counted nowhere. Dice and IoU are of all test pixels as one pool, "
        f"and as means over {unit}s; where neither truth nor prediction has a class they are not "
        "defined, and where only one has it they are 0. Pixel accuracy is the right pixels of all "
        f"images over all their pixels. Intervals: percentiles of {metrics['n_resamples']:,} "
        f"resamples of {unit}s (seed {metrics['seed']}), whose counts were added."
    )
    if metrics["positive"] is None:
        return text
    return (
        f"{text} Boundaries: the larger of the two directed 95th percentiles of the distance "
        "(Hausdorff), and the mean of the distances of both ways. R\u00b2 of pixels is 1 - e / "
        "(p (1 - p)), e the share of wrong pixels and p that of the class; the Brier skill score "
        "is the same of probabilities. R\u00b2 of shares compares each "
        f"{unit}'s predicted share of {metrics['positive']} with the true one."
    )


def _floors_text(metrics: Named) -> str:
    titles = [str(m["title"]) for name, m in metrics["models"].items() if name != NETWORK]
    if not titles:
        return ""
    return (
        f"Beside the network: {listed(titles)}, on the same pixels; differences are paired, on the "
        "same resamples."
    )
