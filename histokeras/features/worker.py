"""A worker of an extraction: one network, slides as they are handed out, their files."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from histokeras.errors import ConfigError
from histokeras.features.engine import Engine, open_engine
from histokeras.features.extract import extract, write_result
from histokeras.features.known import Known, is_begun, look_at
from histokeras.features.sources import Source
from histokeras.models.catalog import require_backbone
from histokeras.models.devices import choose_strategy, describe_devices, gpu_numbers
from histokeras.runs.worker import Channel, Work

if TYPE_CHECKING:
    from histokeras.features.work import ExtractWork


def begin(work: "ExtractWork", channel: Channel) -> Work:
    """Load the network and tell on what it computes.

    Args:
        work: What is to be done.
        channel: The line to the supervisor.

    Returns:
        What extracts the slides that are handed out.

    Raises:
        ConfigError: If a GPU is asked for that is not here.
    """
    gpus = gpu_numbers(work.gpus)
    chosen, readers = work.gpus, work.readers
    if work.workers_per_gpu:
        if not gpus:
            raise ConfigError(
                "`--workers-per-gpu` shares GPUs, but TensorFlow sees none here.",
                code="GPUS",
                hint="Leave the option out: on a CPU one network uses all cores.",
            )
        readers = max(1, readers // (work.workers_per_gpu * len(gpus)))
        chosen = str(gpus[channel.slot % len(gpus)])
    strategy = choose_strategy(chosen)
    settings = work.settings
    engine = open_engine(
        require_backbone(settings["backbone"]),
        work.weights,
        int(settings["tile_size_px"]),
        strategy=strategy,
        compute_batch=int(settings["compute_batch"]),
        precision=str(settings["precision"]),
    )
    channel.ready({**describe_devices(strategy), "gpus": gpus})
    return partial(_extract, work, engine, readers)


def _extract(work: "ExtractWork", engine: Engine, readers: int, channel: Channel) -> None:
    numbers: dict[str, int] = {}
    look = partial(look_at, folder=work.folder, settings=work.settings)

    def sources() -> Iterator[Source]:
        for number, source in channel.tasks():
            # Another command on this folder may have done it since this one began.
            begun = not work.overwrite and is_begun(work.folder, source.slide_id)
            known = look(source, channel.beat) if begun else Known()
            if known.outcome is not None and known.outcome["outcome"] != "failed":
                channel.skip(number, known.outcome | {"failures": known.failures})
                continue
            numbers[source.slide_id] = number
            yield source

    for result in extract(
        sources(),
        work.settings,
        engine,
        batch_size=work.batch_size,
        workers=readers,
        on_tiles=channel.beat,
    ):
        outcome = write_result(work.folder, result)
        channel.done(numbers.pop(result.source.slide_id), outcome)
