"""``python -m histokeras`` is the ``histokeras`` command."""

from histokeras.cli.main import main

main(prog_name="histokeras")
