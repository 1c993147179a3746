"""Download the files of a manifest: what is there is kept, what is missing is fetched."""

import queue
import shutil
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from histokeras.cohort.gdc import GdcFile
from histokeras.cohort.gdc_fetch import Fetching, fetch, md5_of, partial_bytes
from histokeras.cohort.gdc_http import LOST, Manner, StoppedError, require_server
from histokeras.errors import FeatureError, HistokerasError, MissingError, OutputError, SlideError
from histokeras.files import prepare_folder
from histokeras.runs.lease import Leases
from histokeras.runs.progress import ByteProgress
from histokeras.runs.record import (
    RunRecord,
    failure,
    read_record,
    require_own_folder,
    write_failures,
)

COMMAND = "gdc download"
_VERIFIED = "verified_md5"
_MOST_LOST = 5
_RECORD_EVERY_S = 30.0
_LEAVE_S = 2.0


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
        done: Files of the right size whose MD5 was found right before.
        check: Files of the right size whose MD5 is still to be checked.
        fetch: Files to be fetched, wholly or in part.
        n_partial: How many of these have a ``.partial`` file.
        bytes_needed: Bytes to come.
        bytes_free: Bytes free where they go.
        verified: Filename -> MD5 of every file in the folder known to be right.
    """

    done: tuple[GdcFile, ...]
    check: tuple[GdcFile, ...]
    fetch: tuple[GdcFile, ...]
    n_partial: int
    bytes_needed: int
    bytes_free: int
    verified: Mapping[str, str]

    @property
    def text(self) -> str:
        """One line for the user; sizes in GB of 10^9 bytes."""
        n = len(self.done) + len(self.check) + len(self.fetch)
        return (
            f"{n} file(s): {len(self.done)} done, {len(self.check)} there with their MD5 to be "
            f"checked, {len(self.fetch)} to fetch ({self.n_partial} of them begun), "
            f"{self.bytes_needed / 1e9:.3f} GB; {self.bytes_free / 1e9:.3f} GB free"
        )


@dataclass
class Totals:
    """How a download ended: numbers of files, and the rows of failures.csv."""

    fetched: int = 0
    kept: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)


def plan_download(files: Sequence[GdcFile], folder: Path, *, verify: bool = False) -> Plan:
    """Find out what there is to do; nothing is written.

    Args:
        files: Rows of a manifest.
        folder: Where they go; it need not exist.
        verify: Whether the MD5 of finished files is checked once more.

    Raises:
        ConfigError: If the folder holds the output of another command.
        FeatureError: RECORD_DAMAGED if its run.json cannot be read.
    """
    verified = _read_verified(folder)
    require_own_folder(folder, (COMMAND,), ("failures.csv",))
    done, check, missing = [], [], []
    for file in files:
        path = folder / file.filename
        if not path.is_file() or path.stat().st_size != file.size:
            missing.append(file)
        elif verified.get(file.filename) == file.md5 and not verify:
            done.append(file)
        else:
            check.append(file)
    begun = {file.filename: partial_bytes(folder, file) for file in missing}
    return Plan(
        tuple(done),
        tuple(check),
        tuple(missing),
        sum(n > 0 for n in begun.values()),
        # A .partial file that is too long is thrown away.
        sum(max(0, file.size - begun[file.filename]) for file in missing),
        _bytes_free(folder),
        verified,
    )


def _read_verified(folder: Path) -> dict[str, str]:
    try:
        found = read_record(folder).get(_VERIFIED)
    except FeatureError as error:
        raise FeatureError(
            error.message,
            code=error.code,
            hint="Remove this one file: finished slides stay, and their MD5 is checked anew.",
        ) from error
    pairs = found.items() if isinstance(found, dict) else ()
    return {str(name): md5 for name, md5 in pairs if isinstance(md5, str)}


def _bytes_free(folder: Path) -> int:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def require_space(plan: Plan) -> None:
    """Refuse a download that would fill the disk.

    Raises:
        OutputError: DISK_FULL.
    """
    if plan.bytes_needed > plan.bytes_free:
        raise OutputError(
            f"{plan.bytes_needed} bytes are needed, {plan.bytes_free} are free.",
            code="DISK_FULL",
            hint="Free space, choose another folder, or take fewer slides (--diagnostic-only, "
            "--sample-types).",
        )


@dataclass(frozen=True, kw_only=True)
class DownloadJob:
    """How to download.

    Attributes:
        folder: Where files go, flat: ``<folder>/<filename>``.
        server: Address of the API.
        workers: Files that are fetched at once.
        manner: How patient to be with the server.
        quiet: Say nothing (the Python API).
        left_out: Rows of run.json for files that are not wanted.
        config: The resolved options, for run.json.
        command_line: The command as it was typed; "" from Python.
    """

    folder: Path
    server: str
    workers: int = 4
    manner: Manner = field(default_factory=Manner)
    quiet: bool = False
    left_out: Sequence[dict[str, Any]] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    command_line: str = ""


def download(plan: Plan, job: DownloadJob) -> Totals:
    """Carry out a plan: every file ends whole under its name, or as a row of failures.csv.

    Args:
        plan: From :func:`plan_download`, for the same folder.
        job: How.

    Returns:
        How it ended.

    Raises:
        MissingError: GDC_UNREACHABLE if five files in a row cannot be reached.
        OutputError: If a file cannot be written, the disk is too small, or another process
            downloads into the folder.
    """
    server = require_server(job.server)
    require_space(plan)
    prepare_folder(job.folder)
    with (
        Leases(job.folder) as leases,
        ByteProgress(
            len(plan.check) + len(plan.fetch), plan.bytes_needed, quiet=job.quiet
        ) as progress,
    ):
        if not leases.claim(COMMAND):
            raise OutputError(
                f"another process downloads into {job.folder}.",
                code="IN_USE",
                hint="Wait for it, or choose another folder.",
            )
        work = Fetching(folder=job.folder, server=server, manner=job.manner,
                        stop=threading.Event(), on_bytes=progress.add,
                        say=progress.note)  # fmt: skip
        return _Run(plan, job, work, progress).carry_out()


class _Run:
    """The record of a download while it runs.

    Args:
        plan: What to do.
        job: How.
        work: What the workers share.
        progress: What the user sees.
    """

    def __init__(
        self, plan: Plan, job: DownloadJob, work: Fetching, progress: ByteProgress
    ) -> None:
        self._plan, self._job, self._work, self._progress = plan, job, work, progress
        ours = {file.filename for file in (*plan.check, *plan.fetch)}
        self._verified = {n: md5 for n, md5 in plan.verified.items() if n not in ours}
        rows = [{"slide": file.filename, "outcome": "skipped"} for file in plan.done]
        self._record = RunRecord(
            COMMAND,
            job.config,
            {_VERIFIED: self._verified},
            [*job.left_out, *rows],
            job.command_line,
        )
        self._totals = Totals(kept=len(plan.done))
        self._lost_in_a_row = 0
        self._written = 0.0

    def carry_out(self) -> Totals:
        self._write("running")
        try:
            outcomes = _in_parallel(
                self._plan.check, self._plan.fetch, self._work, self._job.workers
            )
            with closing(outcomes):
                for file, outcome in outcomes:
                    self._take(file, outcome)
        except BaseException:
            # The error itself is what matters, if this cannot be written either.
            with suppress(OutputError):
                self._write("interrupted")
            raise
        self._write("done with failures" if self._totals.failures else "done")
        return self._totals

    def _write(self, status: str) -> None:
        write_failures(self._job.folder, self._totals.failures)
        self._record.write(self._job.folder, status=status)
        self._written = time.monotonic()

    def _take(self, file: GdcFile, outcome: str | Exception) -> None:
        if isinstance(outcome, Exception):
            self._fail(file, outcome)
        else:
            self._lost_in_a_row = 0
            self._verified[file.filename] = file.md5
            self._totals.fetched += outcome == "done"
            self._totals.kept += outcome == "skipped"
            self._record.slides.append({"slide": file.filename, "outcome": outcome})
            self._progress.file(file.filename, outcome, f"{file.size / 1e6:.1f} MB")
        # Who is killed now need check few files again.
        if time.monotonic() - self._written > _RECORD_EVERY_S:
            self._write("running")

    def _fail(self, file: GdcFile, error: Exception) -> None:
        if isinstance(error, OutputError):
            raise error
        row = failure(file.filename, "download", error)
        self._totals.failures.append(row)
        self._record.slides.append(
            {"slide": file.filename, "outcome": "failed", "reason": row["code"]}
        )
        self._progress.file(file.filename, "failed", f"{row['code']} {row['message']}")
        self._lost_in_a_row = self._lost_in_a_row + 1 if row["code"] == LOST else 0
        if self._lost_in_a_row == _MOST_LOST:
            raise MissingError(
                f"{_MOST_LOST} files in a row could not be reached, the last: {row['message']}",
                code=LOST,
                hint=row["hint"],
            )


def _in_parallel(
    check: Sequence[GdcFile], missing: Sequence[GdcFile], work: Fetching, workers: int
) -> Generator[tuple[GdcFile, str | Exception], None, None]:
    """Yield each file with its outcome (done, skipped) or error, as they come to their ends.

    Threads are daemons: one that waits for a dead server holds up no Ctrl-C.
    """
    todo: queue.SimpleQueue[tuple[GdcFile, Callable[[GdcFile, Fetching], str]]]
    todo, over = queue.SimpleQueue(), queue.SimpleQueue[tuple[GdcFile, str | Exception]]()
    tasks = [(file, _check) for file in check] + [(file, _fetch) for file in missing]
    for task in tasks:
        todo.put(task)

    def run() -> None:
        while not work.stop.is_set():
            try:
                file, do = todo.get_nowait()
            except queue.Empty:
                return
            over.put((file, _outcome(file, do, work)))

    threads = [
        threading.Thread(target=run, name=f"gdc-{number}", daemon=True)
        for number in range(min(workers, len(tasks)))
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in tasks:
            yield over.get()
    finally:
        work.stop.set()
        until = time.monotonic() + _LEAVE_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


def _outcome(
    file: GdcFile, do: Callable[[GdcFile, Fetching], str], work: Fetching
) -> str | Exception:
    try:
        return do(file, work)
    except (HistokerasError, StoppedError) as error:
        return error
    except OSError as error:
        return SlideError(
            f"`{file.filename}` cannot be read: {error.strerror or error}.",
            code="IO_ERROR",
            hint="Is the storage there? Run the same command to resume.",
        )
    except Exception as error:
        return error


def _fetch(file: GdcFile, work: Fetching) -> str:
    path = work.folder / file.filename
    # Another process may have fetched it since the plan was made.
    if path.is_file() and path.stat().st_size == file.size:
        return _check(file, work)
    fetch(file, work)
    return "done"


def _check(file: GdcFile, work: Fetching) -> str:
    """Check a file that is there; fetch it anew if its bytes are wrong."""
    got = md5_of(work.folder / file.filename, work.stop)
    if got == file.md5:
        return "skipped"
    work.say(f"{file.filename}: MD5 expected {file.md5}, got {got}; it is fetched anew")
    fetch(file, work)
    return "done"
