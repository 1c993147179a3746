"""Carry out an extraction job: network, progress, run.json, failures.csv."""

from typing import Any

from histokeras.features.engine import open_engine
from histokeras.features.extract import extract_to_folder
from histokeras.features.job import ExtractJob, Prepared
from histokeras.features.plan import Plan, prepare
from histokeras.models.catalog import require_backbone
from histokeras.models.devices import choose_strategy, describe_devices
from histokeras.runs.environment import usable_cores
from histokeras.runs.progress import Progress
from histokeras.runs.record import RunRecord
from histokeras.runs.union import shared_record


def run_job(
    job: ExtractJob,
    prepared: Prepared,
    *,
    config: dict[str, Any],
    gpus: str = "all",
    batch_size: int = 64,
    workers: int | None = None,
    quiet: bool = False,
    command_line: str = "",
) -> Plan:
    """Extract what is to do, and write the record.

    Args:
        job: What to do.
        prepared: From :func:`prepare_job`.
        config: The resolved options, for run.json.
        gpus: ``all``, ``cpu`` or numbers.
        batch_size: Tiles read ahead together.
        workers: Reading threads; None for the number of cores, at most 8.
        quiet: Whether to keep progress to oneself.
        command_line: What was typed, for run.json.

    Returns:
        The plan, its outcomes and failures complete.

    Raises:
        OutputError: If the output cannot be written.
    """
    plan = prepared.plan
    prepare(plan)
    record = RunRecord("extract-features", config, facts={"settings": plan.settings})
    record.slides, record.command_line = plan.outcomes, command_line
    with shared_record(record, job.output, plan.failures, plan.share):
        if plan.todo:
            strategy = choose_strategy(gpus)
            record.facts["devices"] = describe_devices(strategy)
            with Progress(len(plan.todo), quiet=quiet) as progress:
                extract_to_folder(
                    plan,
                    lambda: open_engine(
                        require_backbone(job.backbone),
                        prepared.weights,
                        int(plan.settings["tile_size_px"]),
                        strategy=strategy,
                        compute_batch=job.compute_batch,
                        precision=job.precision,
                    ),
                    batch_size=batch_size,
                    workers=workers or min(8, usable_cores()),
                    progress=progress,
                )
    return plan
