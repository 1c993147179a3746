"""What the page says of fine-tuning: how it was done, and whether it is shown to have helped."""

from collections.abc import Iterator, Mapping
from typing import Any

from histokeras.analysis.compare import FROZEN
from histokeras.report.caution import Caution
from histokeras.report.run_files import RunFiles
from histokeras.report.text import at, interval, is_number
from histokeras.types import REGRESSION

_PARTS = {"top": "the last block of the backbone", "all": "the whole backbone"}
_AUGMENTATION = {
    "flips": "Tiles were turned and mirrored at random",
    "light": "Tiles were turned, mirrored and slightly varied in stain and colour at random",
    "strong": "Tiles were turned, mirrored, zoomed and varied in stain and colour at random",
}


def finetuning(run: RunFiles) -> str:
    """Return the sentences of the methods paragraph; "" where nothing was fine-tuned."""
    facts: Mapping[str, Any] = run.record.get("finetune") or {}
    if not facts:
        return ""
    batch_norm = "" if facts.get("batch_norm") else " except BatchNormalization"
    count = facts.get("n_trainable")
    numbers = f" ({count:,} numbers)" if is_number(count) else ""
    text = (
        f"Then {_PARTS.get(str(facts.get('unfreeze')), 'a part of the backbone')}"
        f"{batch_norm}{numbers}, starting from {_start(facts)}, and the head were trained together "
        f"on the tiles with Adam (learning rate {facts.get('learning_rate'):g} after a rise over "
        f"the first epoch, batches of {facts.get('batch_size')})"
    )
    if facts.get("drop_block"):
        text += (
            f", with DropBlock (Ghiasi et al. 2018; squares of 7 x 7 cells, up to "
            f"{facts['drop_block']:g} of the maps of the last stage and a quarter of it of the one "
            f"before, reached after {facts.get('drop_block_steps')} steps)"
        )
    if facts.get("tiles_per_patient"):
        text += f", {facts['tiles_per_patient']} tiles of each patient an epoch"
    text += (
        f", for at most {facts.get('epochs')} epochs; training stopped when the validation loss "
        f"had not fallen for {facts.get('patience')}"
    )
    if is_number(facts.get("best_epoch")):
        text += f", and the weights of epoch {facts['best_epoch']} were kept"
    varied = _AUGMENTATION.get(str(facts.get("augmentation")))
    sentences = [text, varied, "The backbone as it was saved made the features that were evaluated"]
    return ". ".join(filter(None, sentences)) + "."


def _start(facts: Mapping[str, Any]) -> str:
    start = str(facts.get("started_from", ""))
    names = {"imagenet": "ImageNet weights", "file": "the weights of a file",
             "bundled": "the weights of this package",
             "finetuned": "weights fine-tuned before"}  # fmt: skip
    return names.get(start, f"random weights ({start})" if start else "its weights")


def finetuning_cautions(run: RunFiles) -> Iterator[Caution]:
    """Yield what is to be minded where the fine-tuned network is not shown to be the better one."""
    if at(run.record, "finetune", "best_epoch") == 0:
        yield Caution(
            "not-finetuned",
            "No epoch of fine-tuning was better than the frozen network",
            "On the validation side the loss never fell below that of the frozen backbone with its "
            "head, so that was kept: these figures are its own.",
            "Lower --learning-rate, give more --tiles-per-patient, or be content with fit-head.",
        )
        return
    figure = "spearman" if run.task == REGRESSION else "auc"
    difference = at(run.main, "baselines", FROZEN, "difference", figure)
    low = at(difference, "low")
    if is_number(low) and low <= 0:
        yield Caution(
            "frozen-not-beaten",
            "Fine-tuning is not shown to help",
            "The same network, frozen, with a head alone, does as well as far as the interval of "
            f"the difference tells: {interval(difference, signed=True)}.",
            "Take the simpler one, or add patients.",
        )
