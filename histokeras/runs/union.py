"""One record of several processes: run.json and failures.csv of a folder that many write to.

Each process keeps what the others wrote of slides that are not its own, under a lock, so that the
union of all shards equals the record of one process.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from histokeras.files import canonical_json, write_json
from histokeras.runs.lock import locked
from histokeras.runs.record import RunRecord, read_record, write_failures
from histokeras.runs.shard import Share

FAILURES = "failures"
"""Key of run.json for the rows of failures.csv: one file, replaced at once, holds all."""
SHARDS = "shards"
"""Key of run.json: ``i/n`` -> status, started, ended, number of slides, digest of the list."""
SHARDS_NOTE = "shards_note"

_LOG = logging.getLogger(__name__)
_RUNNING, _DONE, _INTERRUPTED = "running", "done", "interrupted"


@contextmanager
def shared_record(
    record: RunRecord, folder: Path, failures: Sequence[Mapping[str, str]], share: Share
) -> Iterator[None]:
    """Write run.json before the block, and run.json and failures.csv after it.

    The status is ``running``; then ``done``, ``done with failures``, or ``interrupted`` if the
    block raises. That of a sharded run is done once all its shards are, over the same list;
    ``interrupted`` if one of them has to be run again; else ``running``: some are at work or have
    not begun. A run without shards, or with another number of them, replaces the record.

    Args:
        record: The record; its ``slides`` are read again after the block.
        folder: The output folder.
        failures: Rows of failures.csv, complete after the block.
        share: The slides of the command, and which of them are this process's.

    Raises:
        OutputError: If the folder cannot be written to.
    """
    own = record.content(_RUNNING)
    with locked(folder):
        write_json(folder / "run.json", _merged(own, [], share, read_record(folder)))
    status = _INTERRUPTED
    try:
        yield
        status = _done(failures)
    finally:
        own = record.content(status)
        with locked(folder):
            content = _merged(own, failures, share, read_record(folder))
            write_failures(folder, content[FAILURES])
            write_json(folder / "run.json", content)
        if content.get(SHARDS_NOTE):
            _LOG.warning("Warning: %s", content[SHARDS_NOTE])


def unfinished(folder: Path) -> str:
    """Return what of the work on a folder has not ended; "" if all has, or nobody recorded it.

    Args:
        folder: An output folder, or any other.

    Raises:
        FeatureError: If run.json is damaged (code RECORD_DAMAGED).
    """
    record = read_record(folder)
    status = str(record.get("status", _DONE))
    # A run.json without a command is none of ours.
    if "command" not in record or status.startswith(_DONE):
        return ""
    shards = record.get(SHARDS, {})
    count = int(next(iter(shards), "0/0").partition("/")[2])
    states = [(f"{i}/{count}", shards.get(f"{i}/{count}", {})) for i in range(count)]
    texts = [f"{name} {row.get('status', 'has not begun')}" for name, row in states]
    left = [text for text in texts if f" {_DONE}" not in text]
    told = f" (shards: {', '.join(left)})" if left else ""
    note = f"; {record[SHARDS_NOTE]}" if SHARDS_NOTE in record else ""
    return f"{record['command']} has not ended, its run.json says {status}{told}{note}"


def _done(failures: Sequence[Mapping[str, str]]) -> str:
    return f"{_DONE} with failures" if failures else _DONE


def _merged(
    own: Mapping[str, Any],
    failures: Sequence[Mapping[str, str]],
    share: Share,
    known: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of run.json: our own rows, and those of others that belong beside them."""
    others = _others(own, share, known)
    keep = set(share.whole) - {str(row["slide"]) for row in own["slides"]}
    if own["status"] == _RUNNING:
        # What an earlier run said of slides that are still to do does not hold any more.
        keep -= share.own
    content = dict(own)
    content[FAILURES] = _rows(failures, others.get(FAILURES, ()), keep)
    content["slides"] = _rows(own["slides"], others.get("slides", ()), keep)
    if share.shard is not None:
        content |= _sharded(content, share, others)
    # Last, as in every other record: the longest part.
    content["slides"] = content.pop("slides")
    return content


def _others(own: Mapping[str, Any], share: Share, known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the record that stands there if it is one of this very kind, else nothing."""
    names = known.get(SHARDS, {})
    counts = {name.partition("/")[2] for name in names}
    wanted = {str(share.shard.count)} if share.shard is not None else set()
    same = all(
        canonical_json(known.get(key)) == canonical_json(own.get(key))
        for key in ("command", "settings")
    )
    return known if same and counts == wanted else {}


def _rows(
    own: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]], keep: set[str]
) -> list[dict[str, Any]]:
    """Return rows of ours, and of others those of slides to keep, by slide."""
    rows = [dict(row) for row in (*own, *(row for row in others if row["slide"] in keep))]
    return sorted(rows, key=lambda row: str(row["slide"]))


def _sharded(content: Mapping[str, Any], share: Share, others: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs where the record is of several shards: theirs, and the whole status."""
    name = str(share.shard)
    count = int(name.partition("/")[2])
    shards: dict[str, dict[str, Any]] = dict(others.get(SHARDS, {}))
    shards[name] = {
        "status": content["status"],
        "started": content["started"],
        "ended": content["ended"],
        "slides": len(share.own),
        "list_slides": len(share.whole),
        "list_sha256": share.digest,
    }
    shards = {key: shards[key] for i in range(count) if (key := f"{i}/{count}") in shards}
    same = {key: row for key, row in shards.items() if row["list_sha256"] == share.digest}
    status = _whole_status(shards, same, count, content[FAILURES])
    ended = [row["ended"] for row in same.values() if row["ended"]]
    found: dict[str, Any] = {
        "status": status,
        "started": min(row["started"] for row in same.values()),
        "ended": None if status == _RUNNING else max(ended, default=None),
        SHARDS: shards,
    }
    different = [key for key in shards if key not in same]
    if different:
        found[SHARDS_NOTE] = _note(name, shards, different)
    return found


def _whole_status(
    shards: Mapping[str, Mapping[str, Any]],
    same: Mapping[str, Mapping[str, Any]],
    count: int,
    failures: Sequence[Mapping[str, str]],
) -> str:
    if len(same) == count and all(row["status"].startswith(_DONE) for row in same.values()):
        return _done(failures)
    again = [
        key
        for key, row in shards.items()
        if row["status"] == _INTERRUPTED or (key not in same and row["status"] != _RUNNING)
    ]
    return _INTERRUPTED if again else _RUNNING


def _note(name: str, shards: Mapping[str, Mapping[str, Any]], different: Sequence[str]) -> str:
    counts = sorted({shards[key]["list_slides"] for key in different})
    return (
        f"shard {name} saw a list of {shards[name]['list_slides']} slide(s), {', '.join(different)}"
        f" another one of {', '.join(map(str, counts))}: slides may be missing; run these shards "
        "again with the same slides"
    )
