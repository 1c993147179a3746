"""Pages and the data beside them: templates, security policy, and whose files are replaced."""

import base64
import functools
import hashlib
import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from histokeras.errors import ConfigError
from histokeras.files import prepare_folder, remove, write_csv, write_json, write_text
from histokeras.foreign.text import read_json
from histokeras.report.plots import Plot
from histokeras.runs.environment import package_version

MAX_BYTES = 5_000_000
"""No page is larger; pictures are left out until it fits."""
GENERATOR = "histokeras"
_MARK = '<meta name="generator" content="histokeras'
_HEAD_BYTES = 4096
_MADE_BY = "histokeras report"
_DATA = ("roc", "pr", "calibration", "confusion", "history", "scores", "auc", "scatter", "errors",
         "spearman", "dice")  # fmt: skip


@functools.cache
def _environment() -> jinja2.Environment:
    # Autoescape without exception: names of slides, classes and patients are untrusted.
    return jinja2.Environment(
        loader=jinja2.PackageLoader("histokeras.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def _style() -> str:
    folder = importlib.resources.files("histokeras.report") / "templates"
    return (folder / "style.css").read_text(encoding="utf-8")


def security_policy(style: str) -> str:
    """Return a policy that lets nothing pass but data pictures and this one style block.

    Args:
        style: The text between ``<style>`` and ``</style>``, to the byte.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )


def render(template: str, **content: Any) -> str:
    """Return a page.

    Args:
        template: File name in ``templates/``.
        content: What it shows; all text is escaped.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_style()),
            policy=security_policy(_style()),
            generator=f"{GENERATOR} {package_version('histokeras') or ''}".strip(),
            **content,
        )
    )


def require_own_page(page: Path) -> None:
    """Refuse to replace a file that this package did not write, and names that are no page.

    Raises:
        ConfigError: If ``page`` is a folder, does not end in .html, or is of other origin; or if
            the data folder beside it holds files of other origin under our names.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(
            f"the page must be called something.html. Received: {page.name!r}.",
            hint="Give -o FILE.html.",
        )
    if page.is_dir():
        raise ConfigError(f"{page} is a folder.", hint="Choose another name.")
    if page.exists():
        with page.open("rb") as file:
            head = file.read(_HEAD_BYTES).decode("utf-8", errors="replace")
        if _MARK not in head:
            raise ConfigError(
                f"{page} was not written by histokeras, and would be replaced.",
                hint="Choose another name.",
            )
    folder = data_folder(page)
    foreign = [name for name in _data_names() if not _is_own(folder, name)]
    if foreign:
        raise ConfigError(
            f"{folder} holds {', '.join(foreign)} of other origin, which would be replaced.",
            hint="Choose another name for the page.",
        )


def require_own_run_folder(page: Path, run: Path | None) -> None:
    """Refuse a page inside the folder of something else: its own page lies, or will lie, there.

    Raises:
        ConfigError: If the page's folder holds a run.json and is not ``run``.
    """
    folder = page.parent
    own = run is not None and folder.resolve() == run.resolve()
    if not own and (folder / "run.json").is_file():
        raise ConfigError(
            f"{folder} is the folder of another run or command.", hint="Choose another place."
        )


def data_folder(page: Path) -> Path:
    """Return where a page's data lie: ``report/`` beside report.html, else ``<stem>_files/``."""
    return page.parent / ("report" if page.stem == "report" else f"{page.stem}_files")


def _data_names() -> list[str]:
    return [f"{name}.{ending}" for name in _DATA for ending in ("csv", "json")]


def _is_own(folder: Path, name: str) -> bool:
    if not (folder / name).exists():
        return True
    try:
        content = read_json((folder / name).with_suffix(".json"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("made_by") == _MADE_BY


def write_page(page: Path, html: str, plots: Sequence[Plot]) -> None:
    """Write a page and, beside it, the data of each plot as CSV and JSON.

    Args:
        page: The page; :func:`require_own_page` has passed.
        html: Its whole text.
        plots: Whose data are written.

    Raises:
        OutputError: If it cannot be written.
    """
    folder = data_folder(page)
    prepare_folder(page.parent)
    # The page goes first and comes last: where it stands, the data beside it are its own.
    remove(page.parent, [page.name])
    if folder.exists():
        # Nothing of an earlier page may be taken for a part of this one.
        remove(folder, _data_names())
    for plot in plots:
        if plot.name not in _DATA:
            continue
        prepare_folder(folder)
        write_csv(folder / f"{plot.name}.csv", plot.table)
        facts = {"made_by": _MADE_BY, "plot": plot.name, "title": plot.title, "text": plot.text}
        write_json(folder / f"{plot.name}.json", {**facts, "data": plot.content})
    write_text(page, html)
