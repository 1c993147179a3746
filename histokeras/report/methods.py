"""A methods paragraph that is true for this run; what is unknown is left out."""

from collections.abc import Mapping
from typing import Any

from histokeras.models.catalog import BAG_HEADS
from histokeras.report.finetuning import finetuning
from histokeras.report.run_files import RunFiles
from histokeras.report.text import at, is_number, listed, number, value_text
from histokeras.runs.record import TRAINING
from histokeras.types import REGRESSION, SURVIVAL

_HEADS = {
    "linear": "a linear softmax head (multinomial logistic regression)",
    "mlp": "a head with one hidden layer of 256 units (ReLU, dropout 0.5) and a softmax",
    "write-up": "a head of 2,048 units (batch normalisation, tanh, dropout 0.5) and a softmax",
    "mil": "gated attention over all tiles of a slide or patient at once (Ilse et al. 2018)",
}
_NUMBER_HEADS = {
    "linear": "a linear head (linear regression)",
    "mlp": "a head with one hidden layer of 256 units (ReLU, dropout 0.5) and one linear output",
    "write-up": "a head of 2,048 units (batch normalisation, tanh, dropout 0.5) and one linear "
    "output",
}
_RISK_HEADS = {
    "linear": "a linear head",
    "mlp": "a head with one hidden layer of 256 units (ReLU, dropout 0.5) and one linear output",
    "mil": "gated attention over all tiles of a patient at once (Ilse et al. 2018) and one linear "
    "output",
}
_BACKBONES = {
    "inceptionv3": "InceptionV3",
    "resnet50": "ResNet50",
    "efficientnetb0": "EfficientNetB0",
    "efficientnetb3": "EfficientNetB3",
    "mobilenetv2": "MobileNetV2",
    "xception": "Xception",
    "mini": "mini, a small residual network trained on procedural tissue alone,",
}
_RISK_FIGURES = (
    "Risks were judged by Harrell's C-index (pairs within a fold, where there are folds), the "
    "hazard ratio of one standard deviation of the training patients' risk, and Kaplan-Meier "
    "curves and the log-rank test of patients above and below the training patients' median risk. "
)
_VERSIONS = {
    "histokeras": "histokeras",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "scikit-learn": "scikit-learn",
    "openslide-bin": "OpenSlide",
    "python": "Python",
}


def methods(run: RunFiles) -> str:
    """Return the paragraph, plain text, from what run.json and metrics.json say."""
    settings = at(run.record, "features", "settings") or {}
    parts = (
        _cohort(run),
        _tiles(settings),
        _stain(settings),
        _features(settings),
        _split(run),
        _head(run),
        finetuning(run),
        _temperature(run.record.get("temperature")),
        _evaluation(run),
        _baselines(run),
        _software(run.record.get("versions") or {}),
    )
    return " ".join(part for part in parts if part)


def _cohort(run: RunFiles) -> str:
    funnel = list((run.record.get("funnel") or {}).items())
    classes = f" ({listed(run.classes)})" if run.classes else ""
    level = run.metrics.get("label_level")
    labels = f"Labels{classes} stood at the {level} level." if level else ""
    group = str((run.record.get("labels") or {}).get("group") or "")
    if group and level:
        labels += (
            f" They are groups of classes: {group.replace('*', 'all others').replace(';', '; ')}."
        )
    if run.task == REGRESSION and level:
        labels = f"The target, {run.target}, is a number and stood at the {level} level."
    if run.task == SURVIVAL and level:
        labels = f"Time and event ({run.target}) were those of the patient."
    if len(funnel) < 2:
        return labels
    first, used = funnel[0], funnel[-1]
    return f"Of {first[1]:,} {first[0]}, {used[1]:,} were used. {labels}".strip()


def _tiles(settings: Mapping[str, Any]) -> str:
    size, mpp = settings.get("tile_size_px"), settings.get("tile_mpp")
    if not size:
        return ""
    if settings.get("ready_made"):
        resampled = ", resampled where of another size" if settings.get("resize") else ""
        return f"Ready-made tiles of {size} x {size} pixels were used{resampled}."
    if mpp is None or not is_number(mpp):
        return f"Slides were cut into tiles of {size} x {size} pixels."
    text = (
        f"Slides were cut into tiles of {size} x {size} pixels at {mpp:g} µm per pixel "
        f"({size * mpp:.0f} µm side)"
    )
    if settings.get("tile_overlap_px"):
        text += f", neighbours overlapping by {settings['tile_overlap_px']} pixels"
    if settings.get("tile_tissue") == "geojson":
        text += ", inside drawn regions"
    limit = settings.get("tile_max_background")
    if limit is not None and is_number(limit) and settings.get("tile_tissue") != "none":
        text += f"; tiles with more than {100 * float(limit):g} % background were left out"
    return text + "."


def _stain(settings: Mapping[str, Any]) -> str:
    words = {
        "macenko": "Stains were normalised by the method of Macenko et al. (2009)",
        "reinhard": "Colours of tissue were normalised by the method of Reinhard et al. (2001)",
    }.get(str(settings.get("stain_norm")))
    if words is None:
        return ""
    of = "tile by tile" if settings.get("ready_made") else "estimated once a slide"
    return f"{words}, {of}, to one fixed reference of histokeras."


def _features(settings: Mapping[str, Any]) -> str:
    backbone = settings.get("backbone")
    if not backbone:
        return ""
    if backbone == "stain-texture":
        return (
            "Each tile was described by 59 numbers of stain, colour and texture (histokeras "
            "stain-texture), without a network."
        )
    if "weights_sha256" not in settings:
        return "Feature vectors of tiles came from another tool."
    weights, sha = str(settings.get("weights", "")), str(settings.get("weights_sha256", ""))[:12]
    words = {
        "imagenet": "with ImageNet weights",
        "file": "with weights from a file",
        "bundled": "with the weights of this package",
        "finetuned": "with fine-tuned weights",
    }.get(weights)
    if weights.startswith("random"):
        words = f"with random, untrained weights ({weights})"
    described = f" {words}" if words else ""
    digest = f" (SHA-256 {sha}…)" if sha and words and "random" not in words else ""
    frozen = "" if weights == "finetuned" else "frozen and "
    precision = settings.get("precision")
    network = _BACKBONES.get(backbone, backbone)
    if backbone == "mini" and weights == "finetuned":
        network = "mini, a small residual network"
    return (
        f"Each tile was turned into a feature vector by {network}"
        f"{described}{digest}, {frozen}without its classifier"
        + (f", computed in {precision}" if precision else "")
        + "."
    )


def _split(run: RunFiles) -> str:
    split = run.record.get("split") or {}
    if run.split == "all":
        return "All of the cohort was tested: it was not split."
    unit = {"patient_id": "patients", "slide_id": "slides", "tile": "tiles"}.get(
        split.get("unit", "")
    )
    if split.get("signed") is False:
        safe = "" if run.note() else "; no patient lay on two sides of it"
        return f"The split was taken from a file of other origin{safe}.{_unsafe(run)}"
    if not unit:
        return ""
    target = split.get("target")
    if run.task == REGRESSION and target == run.target:
        target = f"quantiles of {target}"
    if run.task == SURVIVAL and target == run.target:
        target = "events and quantiles of their times"
    balanced = listed([str(name) for name in (target, *split.get("stratify", [])) if name])
    so = (f", stratified by {balanced}" if balanced else "") + (
        f" (seed {split['seed']})" if split.get("seed") is not None else ""
    )
    if sites := split.get("sites"):
        whole = f", none of the {sites['n_sites']} sites in two of them"
        so = f"{whole}, balanced by {balanced}" if balanced else whole
    if split.get("folds"):
        return (
            f"{unit.capitalize()} were divided into {split['folds']} folds{so}; each fold was the "
            "test side once, with another one for validation and the rest for training, and the "
            f"test predictions of all folds were pooled.{_unsafe(run)}"
        )
    shares = split.get("shares")
    sizes = f" ({', '.join(f'{share:g}' for share in shares)} %)" if shares else ""
    return (
        f"{unit.capitalize()} were split at random into training, validation and test{sizes}{so}."
        f"{_unsafe(run)}"
    )


def _unsafe(run: RunFiles) -> str:
    if not run.note():
        return ""
    return (
        " Patients were not known, so tissue of one patient may lie on several sides: the figures "
        "are not patient-safe."
    )


def _head(run: RunFiles) -> str:
    options = run.head
    head = options.get("head") or at(run.record, "config", "head")
    if run.record.get("command") not in TRAINING or not head:
        return ""
    heads = {REGRESSION: _NUMBER_HEADS, SURVIVAL: _RISK_HEADS}.get(run.task, _HEADS)
    frozen = "frozen " if run.record.get("finetune") else ""
    text = (
        f"On the standardised {frozen}features, {heads.get(head, f'the head {head}')} was trained"
    )
    if is_number(options.get("learning_rate")):
        text += f" with Adam (learning rate {options['learning_rate']:g}"
        what = " bags" if head in BAG_HEADS else ""
        what = " patients" if run.task == SURVIVAL else what
        size = options.get("batch_size")
        text += f", batches of {size}{what})" if size else ")"
    text += _loss(run)
    if options.get("epochs"):
        text += f", for at most {options['epochs']} epochs"
    if options.get("patience"):
        text += (
            "; training stopped when the validation loss had not fallen for "
            f"{options['patience']} epochs, and the weights of the best epoch were kept"
        )
    return f"{text}. {_with_clinical(run)}{_chosen(run)}".strip()


def _with_clinical(run: RunFiles) -> str:
    if not run.metrics.get("with_clinical"):
        return ""
    return (
        "Clinical columns entered its last linear layer beside the features of the patient "
        "(numbers and ordered levels as they are, others one term a level; what was missing as the "
        "median of the training patients with a term that says so), standardised by the training "
        "patients and beginning at the coefficients of the ridge Cox model of these columns alone. "
    )


def _chosen(run: RunFiles) -> str:
    """Return how the options were found, where a search found them."""
    facts = run.record.get("tuning") or {}
    if not facts:
        return ""
    return (
        f"Head and options were the best of {facts.get('n_trials')} trials (TPE of Optuna, seed "
        f"{facts.get('seed')}) by {facts.get('figure')}; test patients took no part in "
        "the search and were looked at once, after it."
    )


def _loss(run: RunFiles) -> str:
    if run.task == SURVIVAL:
        pooled = "" if run.head.get("head") in BAG_HEADS else (
            ", a patient's risk being the mean of those of its tiles"
        )  # fmt: skip
        return f" on the partial likelihood of Cox's model (ties after Efron){pooled}"
    if run.task == REGRESSION:
        level = run.metrics.get("label_level")
        weighed = f", each labelled {level} weighing the same" if level else ""
        return f" on the squared error of the standardised target{weighed}"
    weighed = ", each class weighing the same"
    return " on the cross-entropy" + (weighed if run.head.get("class_weight") == "balanced" else "")


def _temperature(value: Any) -> str:
    values = [item for item in (value if isinstance(value, list) else [value]) if is_number(item)]
    # Exactly 1 is a head that was left as it was.
    if all(value == 1 for value in values):
        return ""
    which = "T" if len(values) == 1 else "T of the folds"
    return (
        "Probabilities were calibrated by temperature scaling fitted on the validation side only "
        f"({which} = {', '.join(number(item) for item in values)})."
    )


def _evaluation(run: RunFiles) -> str:
    if not run.main:
        return ""
    text = ""
    if run.task == SURVIVAL:
        text = _RISK_FIGURES
    elif run.head.get("head") in BAG_HEADS:
        text = f"Each {run.metrics.get('label_level')} got one probability as a whole. "
    elif run.level != "tile" and "mean_probability" in (run.main.get("aggregations") or {}):
        text = f"The probabilities of all tiles of a {run.level} were averaged. "
    if run.task == REGRESSION:
        text = "" if run.level == "tile" else (
            f"The predictions of all tiles of a {run.level} were averaged. "
        )  # fmt: skip
        text += "R² is against the mean of the tested true numbers. "
    resamples, unit = run.metrics.get("n_resamples"), run.main.get("resampled_by")
    if resamples and unit:
        level = 100 * (1 - run.metrics.get("alpha", 0.05))
        text += (
            f"Intervals are {level:g} % percentile intervals from {resamples:,} bootstrap "
            f"resamples of {unit}s."
        )
    return text.strip()


def _baselines(run: RunFiles) -> str:
    titles = [
        str(at(item, "title") or name) for name, item in (run.main.get("baselines") or {}).items()
    ]
    if not titles:
        return ""
    return (
        "For comparison, the following baselines were fitted to the same training data and "
        f"evaluated on the same {run.level}s: {listed([title.rstrip('.') for title in titles])}; "
        "differences were resampled in pairs."
    )


def _software(versions: Mapping[str, Any]) -> str:
    names = [
        f"{text} {value_text(versions[key])}" for key, text in _VERSIONS.items() if key in versions
    ]
    return f"Software: {', '.join(names)}." if names else ""
