"""Options of the commands that learn from labels, each defined once."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from histokeras.cli import options
from histokeras.models.catalog import DEFAULT_HEAD, HEAD_NAMES, TILE_HEADS
from histokeras.types import CLASSIFICATION, TASKS

F = TypeVar("F", bound=Callable[..., Any])

task = click.option(
    "--task",
    type=click.Choice(TASKS),
    default=CLASSIFICATION,
    show_default=True,
    help="regression: the target is a number, such as a score; survival: a time and an event.",
)
time = click.option(
    "--time",
    metavar="COLUMN",
    help="Of survival: column of follow-up times, in any unit.  [default: time, OS_MONTHS, ...]",
)
event = click.option(
    "--event",
    metavar="COLUMN",
    help="Of survival: column of events, 1 seen, 0 censored.  [default: event, OS_STATUS, ...]",
)
clinical_columns = click.option(
    "--clinical-columns",
    "clinical",
    default="",
    metavar="COLUMNS",
    help="Of survival: columns, with commas, that the clinical model beside the head learns from.  "
    "[default: those called age, sex, T, N, M, stage, grade and the like]",
)

with_clinical = click.option(
    "--with-clinical",
    is_flag=True,
    help="Of survival: the head learns from the clinical columns too, and is set beside the same "
    "head on images alone.",
)


def _grouping(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no grouping before TensorFlow takes its seconds; return it in one form."""
    if value is None:
        return None
    # Pandas comes with it, for which ``--help`` need not wait.
    from histokeras.cohort.grouping import parse_grouping

    return str(parse_grouping(value))


def grouping_from(arguments: dict[str, Any]) -> Any:
    """Return the :class:`histokeras.cohort.grouping.Grouping` of ``--group``, None without."""
    from histokeras.cohort.grouping import parse_grouping

    text = arguments.get("group")
    return None if text is None else parse_grouping(text)


group = click.option(
    "--group",
    metavar="CLASS|GROUPS",
    callback=_grouping,
    help='A class against the rest: TUM; or classes as one: "tumour=TUM;stroma=STR,MUS". Classes '
    "in no group are left out; name=* takes all others.",
)

split = click.option(
    "--split", "--splits", "split", type=options.existing_file, help="File of `histokeras split`."
)
shares = click.option(
    "--shares",
    metavar="TRAIN/VAL/TEST",
    help="Split here, by patient, in percent.  [default: 70/15/15]",
)
stratify = click.option(
    "--stratify", default="", metavar="COLUMNS", help="Columns to balance, with commas."
)
_OF_TILES = (
    "linear: softmax regression; mlp: one hidden layer of 256; write-up: Dense 2048, "
    "BatchNorm, tanh, as the hypoxia study was written up"
)
head = click.option(
    "--head",
    type=click.Choice(HEAD_NAMES),
    default=DEFAULT_HEAD,
    show_default=True,
    help=f"{_OF_TILES}; mil: gated attention over all tiles of a labelled slide or patient.",
)
tile_head = click.option(
    "--head",
    type=click.Choice(TILE_HEADS),
    default=DEFAULT_HEAD,
    show_default=True,
    help=f"{_OF_TILES}.",
)
class_weight = click.option(
    "--class-weight",
    type=click.Choice(("balanced", "none")),
    default="balanced",
    show_default=True,
    help="balanced: each class weighs the same in the loss.",
)
train_batch_norm = click.option(
    "--train-batch-norm",
    "batch_norm",
    is_flag=True,
    help="BatchNormalization learns too, with statistics over all devices; needs large batches.",
)
tiles_per_patient = click.option(
    "--tiles-per-patient",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tiles drawn of each patient an epoch, so that all count the same.  [default: all tiles]",
)


def one_division(arguments: dict[str, Any]) -> dict[str, Any]:
    """Settle which of the options that say how patients are divided holds.

    Args:
        arguments: Name to value of every option, any of ``split shares folds preserve_site
            stratify`` among them.

    Returns:
        The same, None for what something typed sets aside.

    Raises:
        click.UsageError: If two of them were given in the same place.
    """
    called = {"split": "--split", "shares": "--shares", "folds": "--cv"}
    known = {name: option for name, option in called.items() if name in arguments}
    settled = options.only_one(arguments, known)
    if "preserve_site" in arguments:
        called = {"preserve_site": "--preserve-site", "stratify": "--stratify"}
        settled = options.only_one(settled, called)
    return settled


def column_names(text: str) -> tuple[str, ...]:
    """Return the columns of ``--stratify`` or ``--clinical-columns``."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
