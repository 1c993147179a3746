import hashlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from histokeras.cli.main import main
from histokeras.cohort import gdc_download
from histokeras.cohort.gdc import GdcFile, write_manifest
from histokeras.cohort.gdc_download import (
    DownloadJob,
    Totals,
    download,
    plan_download,
    require_space,
)
from histokeras.cohort.gdc_http import Manner
from histokeras.errors import ConfigError, FeatureError, MissingError, OutputError
from histokeras.runs.lease import Leases
from tests.cohort.gdc_server import GdcServer, serving

QUICK = Manner(timeout_s=0.3, tries=4, pause_s=0.001)


@pytest.fixture
def server() -> Iterator[GdcServer]:
    with serving() as server:
        yield server


def get(server: GdcServer, folder: Path, *files: GdcFile, verify: bool = False,
        **others: Any) -> Totals:  # fmt: skip
    job = DownloadJob(folder=folder, server=server.url, manner=QUICK, quiet=True, **others)
    return download(plan_download(files, folder, verify=verify), job)


def whole(folder: Path, file: GdcFile) -> bool:
    content = (folder / file.filename).read_bytes()
    return hashlib.md5(content).hexdigest() == file.md5 and len(content) == file.size


def test_every_file_is_whole_whatever_the_server_does(server: GdcServer, tmp_path: Path) -> None:
    files = [
        server.add("good.svs"),
        server.add("truncated.svs", "truncate", "truncate"),
        server.add("stalled.svs", "stall"),
        server.add("no_range.svs", "truncate", "ignore range"),
        server.add("busy.svs", 503, 500, 429),
        server.add("busy_within.svs", "truncate", 502),
        server.add("wrong_once.svs", "wrong"),
        server.add("shifted.svs", "truncate", "shifted"),
        server.add("no_such_range.svs", "truncate", 416),
        server.add("error_page_once.svs", "long"),
    ]

    totals = get(server, tmp_path, *files)

    assert (totals.fetched, totals.kept, totals.failures) == (10, 0, [])
    assert all(whole(tmp_path, file) for file in files)
    assert {path.name for path in tmp_path.iterdir()} == {
        "run.json", "failures.csv", *(file.filename for file in files)
    }  # fmt: skip
    starts = {
        file.filename: [start for key, start in server.requests if key == file.id] for file in files
    }
    assert starts == {
        "good.svs": [0],
        "truncated.svs": [0, 25_000, 37_500],
        "stalled.svs": [0, 25_000],
        "no_range.svs": [0, 25_000],
        "busy.svs": [0, 0, 0, 0],
        "busy_within.svs": [0, 25_000, 25_000],
        "wrong_once.svs": [0, 0],
        "shifted.svs": [0, 25_000, 0],
        "no_such_range.svs": [0, 25_000, 0],
        "error_page_once.svs": [0, 0],
    }
    # What broke off was gone on with: no byte came twice.
    sent = {file.filename: server.sent[file.id] for file in files}
    assert {sent[f"{name}.svs"] for name in ("good", "truncated", "stalled", "busy_within")} == {
        50_000
    }


def test_nothing_is_fetched_twice(server: GdcServer, tmp_path: Path) -> None:
    files = [server.add(f"{number}.svs") for number in range(5)]
    get(server, tmp_path, *files)
    (tmp_path / "4.svs").unlink()

    totals = get(server, tmp_path, *files)

    assert (totals.fetched, totals.kept) == (1, 4)
    counts = Counter(key for key, _ in server.requests)
    assert [counts[file.id] for file in files] == [1, 1, 1, 1, 2]
    record = json.loads((tmp_path / "run.json").read_text())
    assert Counter(row["outcome"] for row in record["slides"]) == {"skipped": 4, "done": 1}
    assert record["verified_md5"] == {file.filename: file.md5 for file in files}


def test_wrong_bytes_every_time_are_a_failure_and_the_others_go_on(
    server: GdcServer, tmp_path: Path
) -> None:
    wrong, refused = server.add("wrong.svs", always="wrong"), server.add("refused.svs", 403)
    long, good = server.add("long.svs", always="long"), server.add("good.svs")

    totals = get(server, tmp_path, wrong, refused, long, good)

    zeros = hashlib.md5(bytes(50_000)).hexdigest()
    table = pd.read_csv(tmp_path / "failures.csv", index_col="slide")
    assert table["code"].to_dict() == {
        "wrong.svs": "MD5_MISMATCH", "refused.svs": "GDC_REFUSED", "long.svs": "SIZE_MISMATCH"
    }  # fmt: skip
    assert f"expected {wrong.md5}, got {zeros}" in table.loc["wrong.svs", "message"]
    assert "expected 50000 bytes, the server has 50004" in table.loc["long.svs", "message"]
    assert [totals.fetched, len(totals.failures)] == [1, 3]
    assert Counter(key for key, _ in server.requests)[wrong.id] == QUICK.whole_tries
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "failures.csv", "good.svs"}
    # A later command tries them again; what was repaired leaves the list.
    server.always.clear()
    assert get(server, tmp_path, wrong, refused, long, good).fetched == 3
    assert pd.read_csv(tmp_path / "failures.csv").empty


def test_a_partial_file_is_gone_on_with(server: GdcServer, tmp_path: Path) -> None:
    begun, damaged, long = (server.add(f"{name}.svs") for name in ("begun", "damaged", "long"))
    content = server.contents
    (tmp_path / "begun.svs.partial").write_bytes(content[begun.id][:40_000])
    (tmp_path / "damaged.svs.partial").write_bytes(bytes(40_000))
    (tmp_path / "long.svs.partial").write_bytes(bytes(60_000))

    plan = plan_download([begun, damaged, long], tmp_path)
    totals = get(server, tmp_path, begun, damaged, long, workers=1)

    assert [plan.n_partial, plan.bytes_needed] == [3, 20_000]
    assert totals.fetched == 3
    assert all(whole(tmp_path, file) for file in (begun, damaged, long))
    assert server.requests == [
        (begun.id, 40_000), (damaged.id, 40_000), (damaged.id, 0), (long.id, 0)
    ]  # fmt: skip


def test_files_of_other_origin_are_checked_once(server: GdcServer, tmp_path: Path) -> None:
    good, bad = server.add("good.svs"), server.add("bad.svs")
    (tmp_path / "good.svs").write_bytes(server.contents[good.id])
    (tmp_path / "bad.svs").write_bytes(bytes(50_000))

    first = plan_download([good, bad], tmp_path)
    totals = get(server, tmp_path, good, bad)

    assert [len(first.check), len(first.fetch)] == [2, 0]
    assert [totals.kept, totals.fetched] == [1, 1]
    assert [key for key, _ in server.requests] == [bad.id]
    assert len(plan_download([good, bad], tmp_path).done) == 2
    # Changed since, with the same size: only --verify sees it.
    (tmp_path / "good.svs").write_bytes(bytes(50_000))
    assert get(server, tmp_path, good, bad).fetched == 0
    assert get(server, tmp_path, good, bad, verify=True).fetched == 1
    assert whole(tmp_path, good)


def test_what_another_process_fetched_meanwhile_is_kept(server: GdcServer, tmp_path: Path) -> None:
    file = server.add("a.svs")
    plan = plan_download([file], tmp_path)
    get(server, tmp_path, file)

    totals = download(plan, DownloadJob(folder=tmp_path, server=server.url, quiet=True))

    assert [totals.fetched, totals.kept, len(server.requests)] == [0, 1, 1]


def test_a_server_that_is_lost_ends_the_work(server: GdcServer, tmp_path: Path) -> None:
    files = [server.add(f"{number}.svs", *[503] * 4) for number in range(8)]

    with pytest.raises(MissingError, match=r"5 files in a row .* answered 503"):
        get(server, tmp_path, *files, workers=1)

    assert json.loads((tmp_path / "run.json").read_text())["status"] == "interrupted"
    assert len(pd.read_csv(tmp_path / "failures.csv")) == 5
    # Back again, it gives what it has not given.
    server.moods.clear()
    assert get(server, tmp_path, *files).fetched == 8


def test_retry_after_is_kept_to() -> None:
    manner = Manner(pause_s=1, longest_pause_s=8)

    assert all(0.5 <= manner.pause(1, None) <= 1.5 for _ in range(50))
    assert all(4 <= manner.pause(20, None) <= 12 for _ in range(50))
    assert manner.pause(1, 30) == 30
    assert manner.pause(1, 1e9) == 600


def test_a_full_disk_is_told_before_any_work(
    server: GdcServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = server.add("a.svs")
    monkeypatch.setattr(gdc_download, "_bytes_free", lambda _: 49_999)

    plan = plan_download([file], tmp_path / "new")
    with pytest.raises(OutputError, match="50000 bytes are needed, 49999 are free"):
        require_space(plan)
    with pytest.raises(OutputError) as caught:
        get(server, tmp_path / "new", file)

    assert [caught.value.exit_code, caught.value.code] == [6, "DISK_FULL"]
    assert not (tmp_path / "new").exists()
    assert server.requests == []


def test_folders_of_others_are_left_alone(server: GdcServer, tmp_path: Path) -> None:
    file = server.add("a.svs")
    (tmp_path / "run.json").write_text('{"command": "tile"}')
    with pytest.raises(ConfigError, match="holds the output of tile"):
        plan_download([file], tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(FeatureError, match="finished slides stay"):
        plan_download([file], tmp_path)
    (tmp_path / "run.json").unlink()

    with Leases(tmp_path) as other:
        assert other.claim("gdc download")
        with pytest.raises(OutputError, match="another process downloads into"):
            get(server, tmp_path, file)
    assert get(server, tmp_path, file).fetched == 1


def test_the_commands_from_query_to_slides(server: GdcServer, tmp_path: Path) -> None:
    def call(*words: object) -> Any:
        return CliRunner().invoke(main, ["gdc", *map(str, words)])

    names = ("TCGA-55-8514-01Z-00-DX1.svs", "TCGA-55-8514-11A-01-TS1.svs")
    files = [server.add(name) for name in names]
    server.hits = [
        {"file_id": f.id, "file_name": f.filename, "md5sum": f.md5, "file_size": f.size,
         "state": f.state} for f in files
    ]  # fmt: skip
    path, slides = tmp_path / "m.tsv", tmp_path / "slides"

    asked = call("query", "--project", "TCGA-LUAD", "--kind", "all", "-o", path,
                 "--server", server.url)  # fmt: skip
    again = call("query", "--project", "TCGA-LUAD", "--kind", "all", "-o", path,
                 "--server", server.url, "--json")  # fmt: skip
    counted = call("manifest", path, "--json")
    none = call("manifest", path, "--diagnostic-only", "--sample-types", "11")
    rest = (path, "-o", slides, "--diagnostic-only", "--server", server.url)
    dry = call("download", *rest, "--dry-run")
    assert not slides.exists()
    done = call("download", *rest, "--json")
    server.moods[files[1].id] = [404]
    failed = call("download", path, "-o", slides, "--server", server.url)

    assert (asked.exit_code, asked.stdout) == (0, f"{path}\n"), asked.output
    told = json.loads(again.stdout)
    assert told == {"manifest": str(path), "counts": json.loads(counted.stdout)}
    assert [row["kind"] for row in told["counts"]] == ["DX", "TS"]
    assert none.exit_code == 3
    assert "leaves none of the 2 slide(s)" in none.stderr
    assert dry.exit_code == 0, dry.output
    assert "1 file(s): 0 done, 0 there" in dry.stderr
    assert json.loads(done.stdout) == {
        "folder": str(slides), "fetched": 1, "kept": 0, "failed": 0
    }  # fmt: skip
    assert failed.exit_code == 4
    assert "GDC_REFUSED" in failed.stderr
    record = json.loads((slides / "run.json").read_text())
    assert record["command_line"].startswith("histokeras gdc download m.tsv --output slides")
    assert [row["outcome"] for row in record["slides"]] == ["skipped", "failed"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_the_partial_file_for_the_next_command(
    server: GdcServer, tmp_path: Path, number: int, code: int
) -> None:
    file = server.add("a.svs", "stall")
    write_manifest(tmp_path / "m.tsv", [file])
    command = [sys.executable, "-m", "histokeras", "gdc", "download", str(tmp_path / "m.tsv"),
               "-o", str(tmp_path / "out"), "--server", server.url]  # fmt: skip
    part = tmp_path / "out/a.svs.partial"

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while not (part.is_file() and part.stat().st_size == 25_000):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)

    assert process.returncode == code, said
    assert b"run the same command to resume" in said
    assert part.stat().st_size == 25_000
    assert json.loads((tmp_path / "out/run.json").read_text())["status"] == "interrupted"
    assert get(server, tmp_path / "out", file).fetched == 1
    assert server.requests == [(file.id, 0), (file.id, 25_000)]
    assert whole(tmp_path / "out", file)
