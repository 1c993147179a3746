"""Example tables and a config, as ``histokeras init`` writes them; the texts are in templates/."""

from importlib import resources
from pathlib import Path

from histokeras.files import prepare_folder, write_text

EXAMPLES = ("labels.csv", "slides.csv", "tiles.csv", "histokeras.toml")
"""Names of the example files."""


def example_text(name: str) -> str:
    """Return the text of one of ``EXAMPLES``."""
    return (resources.files("histokeras.cohort") / "templates" / name).read_text(encoding="utf-8")


def write_examples(folder: Path) -> tuple[list[Path], list[Path]]:
    """Write the examples; a file that exists is kept as it is.

    Args:
        folder: Where to; made if need be.

    Returns:
        The files written, and the files kept.

    Raises:
        OutputError: If the folder cannot be written to.
    """
    prepare_folder(folder)
    written: list[Path] = []
    kept: list[Path] = []
    for name in EXAMPLES:
        path = folder / name
        if path.exists():
            kept.append(path)
            continue
        write_text(path, example_text(name))
        written.append(path)
    return written, kept
