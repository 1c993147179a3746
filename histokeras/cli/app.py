"""``histokeras app``."""

from typing import Any

import click

from histokeras.cli import options
from histokeras.cli.picture_options import predictions
from histokeras.cli.slide_options import default_mpp

_LOCAL = "127.0.0.1"


@click.command()
@click.argument("run", type=options.run_folder)
@click.option(
    "--slides",
    type=options.existing_folder,
    metavar="DIR",
    help="Folder whose slides may be chosen on the page.",
)
@click.option(
    "--composition",
    type=options.existing_folder,
    metavar="DIR",
    help="What `histokeras composition -o` was given: shown with the patients.",
)
@predictions
@click.option(
    "--mpp",
    type=float,
    metavar="UM",
    help="Of a run on ready-made tiles that does not know it: their resolution in um per pixel.",
)
@default_mpp
@options.run_weights
@options.trust_model
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8501,
    show_default=True,
    help="Port to listen on; 0 for any free one.",
)
@click.option(
    "--host",
    default=_LOCAL,
    show_default=True,
    help="Address to listen on. Any other lets others in, without a password.",
)
@options.config
def app(**arguments: Any) -> None:
    """Show RUN as a web page: a tile, a slide, the patients.

    The page predicts a sample tile or an upload, with Grad-CAM and a warning where the picture does
    not look like what the run was trained on; it maps the slides of --slides and lists the
    patients. It is reached from this machine alone, asks nothing of any other, and writes nothing.
    Ctrl-C closes it. On a server, tunnel: ssh -L 8501:localhost:8501 SERVER. Needs
    pip install "histokeras[app]". For research use only.

    \b
    Examples:
      histokeras app run/
      histokeras app run/ --slides slides/ --composition composition/
    """
    from histokeras.app import server
    from histokeras.app.facts import read_facts
    from histokeras.app.settings import Settings
    from histokeras.app.slide import choices, require_own_predictions

    server.require_streamlit()
    names = ("run", "slides", "composition", "predictions", "weights", "trust", "mpp",
             "default_mpp")  # fmt: skip
    settings = Settings(**{name: arguments[name] for name in names})
    # What is mistyped is said here, not on the page.
    read_facts(settings.run)
    require_own_predictions(settings)
    if settings.slides is not None:
        choices(settings.slides)
    host = arguments["host"]
    port = server.require_port(host, arguments["port"])
    if not server.is_local(host):
        click.echo(
            f"Warning: --host {host} shows this run, its slides and its patients to everybody who "
            "can reach this machine; there is no password.",
            err=True,
        )
    with server.serve(settings, host, port) as process:
        click.echo(server.address(host, port))
        click.echo("Ctrl-C closes the page.", err=True)
        try:
            server.wait(process)
        except KeyboardInterrupt:
            click.echo("The page is closed.", err=True)
