"""Carry out an extraction job: workers, progress, run.json, failures.csv. No TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from histokeras.features.job import ExtractJob, Prepared
from histokeras.features.plan import Plan, prepare
from histokeras.features.tally import Tally
from histokeras.features.work import ExtractWork
from histokeras.models.weights import WeightsSource
from histokeras.runs.environment import usable_cores
from histokeras.runs.events import STALL_S, Ready
from histokeras.runs.lease import LeasedTasks, Leases
from histokeras.runs.progress import Progress
from histokeras.runs.record import RunRecord
from histokeras.runs.supervisor import supervise
from histokeras.runs.union import shared_record


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How an extraction is carried out; none of it changes the features.

    Attributes:
        gpus: ``all``, ``cpu`` or numbers.
        batch_size: Tiles read ahead together.
        readers: Reading threads; None for the number of cores, at most 8.
        stall_s: Seconds without a tile after which a worker is taken to hang.
        workers_per_gpu: Workers that share a GPU; 0 for one worker with all GPUs.
        fail_fast: Whether the first failed slide ends the work.
        quiet: Whether to keep progress to oneself.
    """

    gpus: str = "all"
    batch_size: int = 64
    readers: int | None = None
    stall_s: float = STALL_S
    workers_per_gpu: int = 0
    fail_fast: bool = False
    quiet: bool = False


def run_job(
    job: ExtractJob,
    prepared: Prepared,
    *,
    config: dict[str, Any],
    manner: Manner | None = None,
    command_line: str = "",
    here: Callable[[Plan, Tally], None] | None = None,
) -> Plan:
    """Extract what is to do in worker processes, and write the record.

    Args:
        job: What to do.
        prepared: From :func:`prepare_job`.
        config: The resolved options, for run.json.
        manner: Devices, workers, progress.
        command_line: What was typed, for run.json.
        here: Extracts in this process instead of in workers, for one that holds the memory of
            the GPUs already.

    Returns:
        The plan, its outcomes and failures complete.

    Raises:
        OutputError: If the output cannot be written.
        HistokerasError: If no worker can begin, the storage of the slides is lost, or a slide
            failed and that was to end the work.
    """
    plan, manner = prepared.plan, manner or Manner()
    prepare(plan)
    record = RunRecord("extract-features", config, facts={"settings": plan.settings})
    record.slides, record.command_line = plan.outcomes, command_line
    with (
        shared_record(record, job.output, plan.failures, plan.share),
        Progress(len(plan.todo), quiet=manner.quiet) as progress,
    ):
        tally = Tally(plan, progress, fail_fast=manner.fail_fast)
        if here is not None:
            here(plan, tally)
        else:
            weights = prepared.weights
            _in_workers(plan, weights, manner, record, tally, overwrite=job.overwrite)
    plan.sort()
    return plan


def _in_workers(
    plan: Plan,
    weights: WeightsSource,
    manner: Manner,
    record: RunRecord,
    tally: Tally,
    *,
    overwrite: bool,
) -> None:
    work = ExtractWork(
        folder=plan.folder,
        settings=plan.settings,
        weights=weights,
        gpus=manner.gpus,
        workers_per_gpu=manner.workers_per_gpu,
        batch_size=manner.batch_size,
        readers=manner.readers or min(8, usable_cores()),
        overwrite=overwrite,
    )
    with Leases(plan.folder) as leases:
        claims = LeasedTasks(leases, [source.slide_id for source in plan.todo])
        for event in supervise(
            plan.todo, work, stall_s=manner.stall_s, workers=work.workers, claims=claims
        ):
            if isinstance(event, Ready):
                record.facts["devices"] = event.facts
            tally.event(event)
