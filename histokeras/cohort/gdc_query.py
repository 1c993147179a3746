"""Ask the GDC which slides a project has.

The names of fields and values below (``data_type`` "Slide Image", ``experimental_strategy``
"Diagnostic Slide" and "Tissue Slide", ``cases.project.project_id``, ``state``, paging by ``from``
and ``size``) stand in public documents and programs. They were not checked against the server
itself.
"""

import json
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from histokeras.cohort.gdc import GdcFile, check_rows
from histokeras.cohort.gdc_http import Manner, ask, require_server
from histokeras.errors import ConfigError, SlideError
from histokeras.foreign.text import MAX_JSON_BYTES, parse_json

KINDS: Mapping[str, tuple[str, ...]] = {
    "diagnostic": ("Diagnostic Slide",),
    "tissue": ("Tissue Slide",),
    "all": ("Diagnostic Slide", "Tissue Slide"),
}
"""Slide kind -> values of ``experimental_strategy``: not checked against the server."""
# In the order of the columns of a manifest.
_FIELDS = ("file_id", "file_name", "md5sum", "file_size", "state")
_PAGE = 1000


def build_filters(projects: Sequence[str], kind: str) -> dict[str, Any]:
    """Return the filters of a query as the GDC's API takes them.

    Args:
        projects: Such as ``TCGA-BRCA``, at least one.
        kind: A key of ``KINDS``.

    Raises:
        ConfigError: If there is no project, or one of them is none.
    """
    for project in projects or ("",):
        if not (project.isascii() and project.replace("-", "").replace("_", "").isalnum()):
            raise ConfigError(f"`--project` is a name such as TCGA-BRCA. Received: {project!r}")
    wanted = {
        "cases.project.project_id": list(projects),
        "data_type": ["Slide Image"],
        "experimental_strategy": list(KINDS[kind]),
    }
    content = [
        {"op": "in", "content": {"field": field, "value": values}}
        for field, values in wanted.items()
    ]
    return {"op": "and", "content": content}


def query_files(
    projects: Sequence[str],
    kind: str,
    *,
    server: str,
    say: Callable[[str], None],
    manner: Manner | None = None,
    page: int = _PAGE,
) -> tuple[GdcFile, ...]:
    """Ask for all slides of projects, page by page.

    Args:
        projects: Such as ``TCGA-BRCA``.
        kind: diagnostic, tissue or all.
        server: Address of the API.
        say: Told of every failure that is tried again.
        manner: How patient to be; the defaults if None.
        page: How many files to ask for at once.

    Returns:
        The files, sorted by name.

    Raises:
        ConfigError: If an argument is wrong.
        MissingError: GDC_UNREACHABLE if the server is not to be reached.
        SlideError: NO_SLIDES if there is none; GDC_REFUSED if the server refuses, or its answer is
            not what the API promises.
        TableError: If a file of the answer is no file for a manifest.
    """
    filters, address = build_filters(projects, kind), f"{require_server(server)}/files"
    hits: list[Mapping[str, Any]] = []
    total = None
    while total is None or len(hits) < total:
        body = {"filters": filters, "fields": ",".join(_FIELDS), "format": "JSON",
                "sort": "file_id:asc", "size": page, "from": len(hits)}  # fmt: skip
        request = urllib.request.Request(
            address, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        found, now = _page(ask(request, manner or Manner(), MAX_JSON_BYTES, say), address)
        if total not in (None, now) or (not found and len(hits) < now):
            raise _odd(address, f"{len(hits)} files came where {total or now} were promised")
        hits, total = [*hits, *found], now
    if not hits:
        raise SlideError(
            f"the GDC has no {kind} slides of {', '.join(projects)}.".replace("no all", "no"),
            code="NO_SLIDES",
            hint="Projects are written as in the GDC portal: TCGA-BRCA.",
        )
    rows = [
        (f"{address}: file {number}", [str(hit.get(field, "")) for field in _FIELDS])
        for number, hit in enumerate(hits, start=1)
    ]
    return tuple(sorted(check_rows(rows), key=lambda file: file.filename))


def _page(data: bytes, address: str) -> tuple[list[Mapping[str, Any]], int]:
    """Return the files of an answer, and how many there are in all."""
    try:
        content = parse_json(data.decode("utf-8"))
    except ValueError as error:
        raise _odd(address, f"it is no JSON ({error})") from error
    found = content.get("data") if isinstance(content, dict) else None
    hits = found.get("hits") if isinstance(found, dict) else None
    paging = found.get("pagination") if isinstance(found, dict) else None
    total = paging.get("total") if isinstance(paging, dict) else None
    if not isinstance(hits, list) or not all(isinstance(hit, dict) for hit in hits):
        raise _odd(address, "it lacks `data.hits`")
    if not isinstance(total, int):
        raise _odd(address, "it lacks `data.pagination.total`")
    return hits, total


def _odd(address: str, why: str) -> SlideError:
    return SlideError(
        f"the answer of {address} is not what the GDC's API promises: {why}.",
        code="GDC_REFUSED",
        hint="Run the same command again later, or take the manifest from the GDC portal.",
    )
