"""Options that several commands share, each defined once."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from histokeras.foreign.kinds import refuse_foreign_model
from histokeras.models.catalog import BACKBONES, DEFAULT_BACKBONE
from histokeras.runs.events import STALL_S
from histokeras.types import CLASSIFICATION, REGRESSION, STAIN_NORMS

F = TypeVar("F", bound=Callable[..., Any])
_INPUTS = ("slides", "inputs")
_FOLDERS = ("images", "masks", "drawn_nodes", "drawn_tumour", "truth")
_INPUT = Path("INPUT")
"""What records say in place of a folder of slides, tiles or features."""

existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)
existing_path = click.Path(exists=True, path_type=Path)
existing_folder = click.Path(exists=True, file_okay=False, path_type=Path)


class _RunFolder(click.Path):
    """A folder; of a model's file in its place it is said that it is not loaded."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        refuse_foreign_model(
            Path(value), "Name a run: a folder that `histokeras fit-head` or `finetune` wrote."
        )
        return super().convert(value, param, ctx)


run_folder = _RunFolder(exists=True, file_okay=False, path_type=Path)
any_path = click.Path(path_type=Path)


def _read_config(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is None:
        return
    from histokeras.cli.main import COMMANDS
    from histokeras.config import at_line, read_config, require_known_keys
    from histokeras.errors import ConfigError

    name = str(ctx.command.name)
    tables = read_config(value, COMMANDS)
    group = ctx.parent.command if ctx.parent is not None else None
    if isinstance(group, click.Group) and group.name in COMMANDS:
        # A command of a group stands in the group's table: [tune.head].
        tables = tables.get(str(group.name), {})
        require_known_keys(tables, group.commands, path=value, section=str(group.name))
        table, name = tables.get(name, {}), f"{group.name}.{name}"
        if not isinstance(table, dict):
            raise ConfigError(f"{value}: `{ctx.command.name}` must be a table, written [{name}].")
    else:
        table = tables.get(name, {})
    known = {
        word: item
        for item in ctx.command.params
        if item.name != parameter.name
        for word in (
            str(item.name),
            *(option.lstrip("-").replace("-", "_") for option in item.opts),
        )
    }
    require_known_keys(table, known, path=value, section=name)
    given: dict[str, Any] = {}
    for key, content in ((key.replace("-", "_"), item) for key, item in table.items()):
        where = f"{value}{at_line(value, name, key)}: `{key}` in [{name}]"
        option = str(known[key].name)
        if option in given:
            raise ConfigError(f"{where} means the same as another key there. Leave one of them.")
        given[option] = _of_config(ctx, known[key], content, where)
    ctx.default_map = {**(ctx.default_map or {}), **given}


def _of_config(ctx: click.Context, parameter: click.Parameter, content: Any, where: str) -> Any:
    """Return a value of a config file as click takes it; refuse what is of another type."""
    from histokeras.errors import ConfigError

    several = parameter.nargs == -1 or getattr(parameter, "multiple", False)
    if several and not isinstance(content, list):
        content = [content]
    kinds = {type(item) for item in content} if several else {type(content)}
    if kinds & {dict, list} or (bool in kinds and not getattr(parameter, "is_flag", False)):
        raise ConfigError(f"{where} is of the wrong type. Received: {content!r}")
    # Whether a path exists is asked when it is used: the command line may name another.
    if not isinstance(parameter.type, click.Path):
        try:
            parameter.type_cast_value(ctx, content)
        except click.BadParameter as error:
            raise ConfigError(f"{where}: {error.message}") from error
    return content


config = click.option(
    "--config",
    type=existing_file,
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="TOML file with a table [COMMAND] of options; options given here win.",
)
output = click.option(
    "-o",
    "--output",
    "--out",
    "--job-dir",
    "output",
    type=any_path,
    required=True,
    help="Output folder; made if need be.",
)
overwrite = click.option(
    "--overwrite", is_flag=True, help="Do everything anew instead of resuming."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
seed = click.option(
    "--seed", type=click.IntRange(min=0, max=2**32 - 1), default=0, show_default=True,
    help="Seed of everything random.",
)  # fmt: skip
labels = click.option(
    "--labels",
    "--clini-table",
    "labels",
    type=existing_file,
    help="Table (.csv, .xlsx) with a patient_id, slide_id or tile column and the labels.",
)
target = click.option(
    "--target",
    default="label",
    show_default=True,
    help="Column of the table with the labels.",
)
task = click.option(
    "--task",
    type=click.Choice((CLASSIFICATION, REGRESSION)),
    default=CLASSIFICATION,
    show_default=True,
    help="regression: the target is a number, such as a score.",
)
patients_unknown = click.option(
    "--patients-unknown",
    is_flag=True,
    help="Accept tiles or slides without patient ids; every output then says so.",
)
pseudonyms = click.option(
    "--pseudonyms",
    type=existing_file,
    metavar="TABLE",
    help="Table with the columns id,pseudonym: a row for each slide (its file's name without the "
    "extension) and each patient. Outputs name them by their pseudonyms alone.",
)
strict = click.option(
    "--strict", is_flag=True, help="Rows without a label are an error; else they are left out."
)
positive = click.option(
    "--positive",
    metavar="LABEL",
    help="Positive class of a two-class task.  [default: the second of 0/1, no/yes, "
    "negative/positive; else both are reported]",
)
backbone = click.option(
    "--backbone",
    "--patch-encoder",
    "--extractor",
    "--model",
    "backbone",
    type=click.Choice(list(BACKBONES)),
    default=DEFAULT_BACKBONE,
    show_default=True,
    help="Network that turns a tile into a feature vector. Without a download: stain-texture, "
    "plain numbers of colour and texture; mini, a small network trained on painted tissue.",
)
weights = click.option(
    "--weights",
    metavar="imagenet|PATH|random:SEED",
    help="Its weights: Keras' ImageNet ones, a .h5 file, or random ones for trials.  "
    "[default: imagenet; mini's come with the package, stain-texture has none]",
)
stain_norm = click.option(
    "--stain-norm",
    type=click.Choice(STAIN_NORMS),
    default=STAIN_NORMS[0],
    show_default=True,
    help="Bring each slide's stain to one reference before the network; ready-made tiles one by "
    "one. Which tiles are kept does not change.",
)
run_weights = click.option(
    "--weights", metavar="PATH", help="Weights file, if the run's features used one."
)
trust_model = click.option(
    "--trust-model", "trust", metavar="SHA256",
    help="Take the weights out of a whole model (.keras, .h5) given as --weights, if this is its "
    "SHA-256. What it says of its layers is not read, so no code of it runs.",
)  # fmt: skip
gpus = click.option(
    "--gpus", default="all", show_default=True, metavar="all|cpu|0,1", help="Devices that compute."
)
mixed_precision = click.option(
    "--mixed-precision", is_flag=True, help="Compute in float16 where a GPU gains by it."
)
batch_size = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Tiles read ahead together; does not change the features.",
)
compute_batch = click.option(
    "--compute-batch",
    type=click.IntRange(1, 1024),
    default=16,
    show_default=True,
    help="Tiles a device computes at once; part of the fingerprint. Larger is faster on GPUs.",
)
workers = click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Reading threads.  [default: the number of cores, at most 8]",
)
stall_seconds = click.option(
    "--stall-seconds",
    "stall_s",
    type=click.FloatRange(min=1),
    default=STALL_S,
    show_default=True,
    metavar="S",
    help="A worker without a tile for so long is ended; its slides are tried once more.",
)
workers_per_gpu = click.option(
    "--workers-per-gpu",
    type=click.IntRange(min=1),
    help="Networks that share a GPU, each in its own process with its own slides.  "
    "[default: one network on all GPUs]",
)
fail_fast = click.option(
    "--fail-fast", is_flag=True, help="Stop at the first slide that fails instead of going on."
)
allow_empty = click.option(
    "--allow-empty", is_flag=True, help="Slides without tissue do not make the exit code 4."
)
bootstrap = click.option(
    "--bootstrap",
    "n_resamples",
    type=click.IntRange(min=100),
    default=2000,
    show_default=True,
    help="Resamples of patients behind each interval.",
)
specificity = click.option(
    "--specificity",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Specificity at which the sensitivity is given.",
)
memory_gb = click.option(
    "--memory-gb",
    type=click.FloatRange(min=0, min_open=True),
    default=4.0,
    show_default=True,
    help="Features beyond this many GB are streamed from disk.",
)


def recorded(arguments: Mapping[str, Any], *left_out: str) -> dict[str, Any]:
    """Return the options as run.json keeps them: those that may be a path are one.

    Args:
        arguments: Name to value of every option.
        left_out: Names that say nothing of the result.
    """
    kept = {key: value for key, value in arguments.items() if key not in ("as_json", *left_out)}
    # The name of a slide's file is what the pseudonym hides.
    hidden = kept.get("pseudonyms") is not None
    for name in ("weights", "tissue"):
        if isinstance(kept.get(name), str) and Path(kept[name]).exists():
            kept[name] = Path(kept[name])
    for name in _INPUTS:
        # The folder above slides may bear a patient's name, and stands alone in no output.
        if name in kept:
            kept[name] = [_INPUT if path.is_dir() or hidden else path for path in kept[name]]
    for name in _FOLDERS:
        if isinstance(kept.get(name), Path):
            kept[name] = _INPUT
    return kept


def refuse_given(names: Mapping[str, str], why: str, *, of: str = CLASSIFICATION) -> None:
    """Refuse options that were given, on the command line or in a file, and mean nothing here.

    Args:
        names: Name of a parameter -> what it is called on the command line.
        why: Why they mean nothing, a clause.
        of: What they are for.
    """
    context = click.get_current_context()
    for name, option in names.items():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"`{option}` is for {of}: {why}. Leave it out.")


_RANKS = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
"""What was given where, the strongest first; the last is a config file."""


def only_one(arguments: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Keep one of several options that exclude each other: what is typed wins over a config file.

    Args:
        arguments: Name to value of every option.
        names: Name of a parameter -> what it is called on the command line.

    Returns:
        ``arguments``, None for those of ``names`` that a stronger one sets aside.

    Raises:
        click.UsageError: If several were given in the same place.
    """
    context = click.get_current_context()
    for source in _RANKS:
        given = [
            name
            for name in names
            if arguments[name] not in (None, False, "")
            and context.get_parameter_source(name) is source
        ]
        if len(given) > 1:
            listed = ", ".join(f"`{option}`" for option in names.values())
            raise click.UsageError(f"{listed} exclude each other: give one of them.")
        if given:
            for name in set(names) - set(given):
                # Nor is it in the command that the record tells.
                context.params[name] = None
                context.set_parameter_source(name, ParameterSource.DEFAULT)
            return {**arguments, **dict.fromkeys(set(names) - set(given))}
    return dict(arguments)


def together(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator that applies several, shown in ``--help`` in the order given."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def command_line() -> str:
    """Return the command as it could be typed again, every path cut to its last part."""
    # Loads pandas, for which ``--help`` need not wait.
    from histokeras.runs.record import without_folders

    ctx = click.get_current_context()
    words, group = ["histokeras", str(ctx.command.name)], ctx.parent
    while group is not None and group.parent is not None:
        words.insert(1, str(group.command.name))
        group = group.parent
    for parameter in ctx.command.params:
        name = str(parameter.name)
        if name not in ctx.params or ctx.get_parameter_source(name) is ParameterSource.DEFAULT:
            continue
        # Without the shard it is the command of the whole.
        if name in ("as_json", "overwrite", "shard"):
            continue
        given = {"pseudonyms": ctx.params.get("pseudonyms"), name: ctx.params[name]}
        words += _typed(parameter, without_folders(recorded(given)[name]))
    return shlex.join(words)


def _typed(parameter: click.Parameter, value: Any) -> list[str]:
    values = [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]
    if isinstance(parameter, click.Argument):
        return values
    option = max(parameter.opts, key=lambda text: text.startswith("--"))
    if isinstance(parameter, click.Option) and parameter.is_flag:
        # Said against a config file: --all-slides.
        return [option] if values[0] == "True" else parameter.secondary_opts[:1]
    return [word for item in values for word in (option, item)]
