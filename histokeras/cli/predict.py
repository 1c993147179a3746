"""``histokeras predict``."""

from pathlib import Path
from typing import Any

import click

from histokeras.cli import extract_text, options
from histokeras.cli.slide_options import (
    choice_from,
    choice_options,
    default_mpp,
    manner_from,
    max_bad_tiles,
    recursive,
    slide_table,
)
from histokeras.models import quiet


@click.command()
@click.argument("run", type=options.run_folder)
@click.argument(
    "inputs", metavar="SLIDES|FEATURES...", nargs=-1, required=True, type=options.any_path
)
@options.output
@options.run_weights
@options.trust_model
@click.option(
    "--tissue", "annotations", type=options.existing_folder,
    help="Folder of GeoJSON files, if the run's tiles were cut by such.",
)  # fmt: skip
@click.option(
    "--mpp", type=float, metavar="UM",
    help="Of a run on ready-made tiles that does not know it: their resolution in um per pixel.",
)  # fmt: skip
@slide_table
@default_mpp
@recursive
@choice_options
@options.pseudonyms
@max_bad_tiles
@options.batch_size
@options.workers
@options.gpus
@options.workers_per_gpu
@options.stall_seconds
@options.fail_fast
@options.memory_gb
@options.allow_empty
@options.overwrite
@options.as_json
@options.config
def predict(**arguments: Any) -> None:
    """Predict new SLIDES (or extracted FEATURES) with the head of RUN.

    Slides are cut and extracted exactly as the run's own were; features made otherwise are
    refused. After a run on ready-made tiles slides are cut into tiles of the same size in um.

    Writes predictions/<slide_id>.csv (WSInfer's columns), slides.csv and patients.csv.

    \b
    Examples:
      histokeras predict run/ new_slides/ -o predictions/
      histokeras predict run/ feats/ -o predictions/
      histokeras predict tissue_run/ new_slides/ -o predictions/ --mpp 0.5
    """
    import json
    import shlex

    from histokeras.cli import cohort_text
    from histokeras.cohort.pseudonyms import patients_by_slide, read_pseudonyms

    quiet.import_tensorflow()
    from histokeras.training.predict_job import (
        choose_features,
        is_feature_input,
        require_own_output,
        write_predicted,
    )
    from histokeras.training.trained_run import open_run

    pseudonyms = read_pseudonyms(arguments["pseudonyms"])
    run, output = _fitted(open_run(arguments["run"]), arguments), Path(arguments["output"])
    require_own_output(run, output, overwrite=arguments["overwrite"])
    plan, chosen, source = None, None, arguments["inputs"][0]
    choice = choice_from(
        diagnostic_only=arguments["diagnostic_only"], sample_types=arguments["sample_types"]
    )
    if is_feature_input(arguments["inputs"]):
        chosen, n_slides = choose_features(source, choice)
        cohort_text.say_left_out(chosen, n_slides)
    else:
        plan, source = _extract(run, arguments, choice), output
        if not plan.finished():
            extract_text.end(plan, allow_empty=False)
    predictions = write_predicted(
        run,
        source,
        output,
        slide_patients=patients_by_slide(arguments["slide_table"], pseudonyms),
        pseudonyms=pseudonyms,
        memory_gb=arguments["memory_gb"],
        config=options.recorded(arguments, "overwrite"),
        run_folder=arguments["run"],
        command_line=options.command_line(),
        plan=plan,
        chosen=chosen,
    )
    cohort_text.say_normal(predictions.slides["slide_id"])
    if not len(predictions.patients):
        click.echo("No patient ids are known: give --slide-table for patients.csv.", err=True)
    if arguments["as_json"]:
        click.echo(json.dumps(json.loads(predictions.slides.to_json(orient="records")), indent=2))
    else:
        click.echo(str(output))
    if plan is not None and run.classes and not run.ready_made:
        # Where slides lie may hold the name of a person: it is not said again.
        what = shlex.join(["histokeras", "heatmap", str(output)])
        click.echo(f"Class maps of the slides: {what} SLIDES --of class", err=True)
    if plan is not None:
        extract_text.end(plan, allow_empty=arguments["allow_empty"])


def _fitted(run: Any, arguments: dict[str, Any]) -> Any:
    """Return the run; one on ready-made tiles that is given slides as one that cuts the like."""
    from histokeras.features.index import index_features
    from histokeras.training.predict_job import is_feature_input
    from histokeras.training.tile_classifier import for_slides, holds_slides

    inputs, mpp = arguments["inputs"], arguments["mpp"]
    if not run.ready_made:
        return run if mpp is None else for_slides(run, mpp)
    size = run.tile_spec.size_px
    if is_feature_input(inputs):
        cut = index_features(inputs[0]).settings
        return run if cut.get("ready_made", True) else for_slides(run, mpp, cut)
    if not holds_slides(inputs, size, recursive=arguments["recursive"]):
        return run
    fitted = for_slides(run, mpp)
    click.echo(
        f"The run learned from ready-made tiles: slides are cut into tiles of {size} px at "
        f"{fitted.settings['tile_mpp']:g} um per pixel.",
        err=True,
    )
    return fitted


def _extract(run: Any, arguments: dict[str, Any], choice: Any) -> Any:
    import dataclasses

    from histokeras.features.job import prepare_job
    from histokeras.features.run import run_job
    from histokeras.training.trained_run import extract_job_of, require_fitting

    names = ("slide_table", "default_mpp", "recursive", "annotations", "max_bad_tiles",
             "pseudonyms")  # fmt: skip
    job = extract_job_of(
        run,
        arguments["inputs"],
        arguments["output"],
        weights=arguments["weights"],
        choice=choice,
        trust=arguments["trust"],
        **{name: arguments[name] for name in names},
    )
    job = dataclasses.replace(job, overwrite=arguments["overwrite"])
    prepared = prepare_job(job)
    require_fitting(run, prepared.plan.settings, where="the features of these slides would be")
    extract_text.say_prepared(prepared)
    config = options.recorded(arguments, "overwrite")
    return run_job(
        job,
        prepared,
        config=config,
        manner=manner_from(arguments),
    )
