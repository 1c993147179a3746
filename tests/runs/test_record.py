import json
from pathlib import Path

import pandas as pd
import pytest

from histokeras.errors import FeatureError, SlideError
from histokeras.runs.environment import hardware, package_version, usable_cores, versions
from histokeras.runs.progress import Progress
from histokeras.runs.record import (
    RunRecord,
    failure,
    read_outcomes,
    read_record,
    without_folders,
    write_failures,
)


def test_a_record_holds_what_was_done_with_what(tmp_path: Path) -> None:
    config = {"slides": (Path("/home/jane/slides"),), "labels": Path("/x/labels.csv"), "mpp": 0.5}
    record = RunRecord("extract-features", config, facts={"funnel": {"used": 3}})

    record.write(tmp_path, status="running")
    first = json.loads((tmp_path / "run.json").read_text())
    record.slides.append({"slide": "a", "outcome": "done"})
    record.write(tmp_path, status="done")
    last = json.loads((tmp_path / "run.json").read_text())

    assert first["status"] == "running"
    assert first["ended"] is None
    assert last["config"] == {"slides": ["slides"], "labels": "labels.csv", "mpp": 0.5}
    assert last["funnel"] == {"used": 3}
    assert last["slides"] == [{"slide": "a", "outcome": "done"}]
    assert last["versions"]["numpy"] == versions()["numpy"]
    assert last["hardware"]["cores"] == usable_cores() == hardware()["cores"] >= 1
    assert "jane" not in json.dumps(last)


def test_paths_inside_lists_and_tables_lose_their_folders() -> None:
    nested = {"a": [Path("/x/y.csv"), {"b": Path("z/w")}], "c": "kept/text"}

    assert without_folders(nested) == {"a": ["y.csv", {"b": "w"}], "c": "kept/text"}


def test_failures_are_rows_with_code_and_remedy(tmp_path: Path) -> None:
    rows = [
        failure("s,1", "open", SlideError("no mpp", code="MPP_MISSING", hint="Give one.")),
        failure("s2", "extract", ZeroDivisionError("x")),
    ]
    write_failures(tmp_path, rows)

    table = pd.read_csv(tmp_path / "failures.csv")
    assert table["slide"].tolist() == ["s,1", "s2"]
    assert table["code"].tolist() == ["MPP_MISSING", "UNEXPECTED"]
    assert "report" in table["hint"][1]
    write_failures(tmp_path, [])
    assert len(pd.read_csv(tmp_path / "failures.csv")) == 0


def test_packages_that_are_not_here_have_no_version() -> None:
    assert package_version("no-such-package-at-all") is None


def test_a_record_is_read_back_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    assert read_record(tmp_path) == {}
    record = RunRecord("tile", {}, slides=[{"slide": "a", "outcome": "failed"}])
    record.write(tmp_path, status="done")
    assert read_record(tmp_path)["command"] == "tile"
    assert read_outcomes(tmp_path) == {"a": "failed"}

    for text in ("half a rec", "[]"):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(FeatureError, match="is damaged"):
            read_record(tmp_path)


def test_folders_in_messages_are_cut() -> None:
    row = failure("s", "open", SlideError("`/home/jane/a.svs` and /data/x/b.svs: 1/2 read"))

    assert row["message"] == "`a.svs` and b.svs: 1/2 read"


def test_a_log_gets_one_plain_line_a_slide(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(2) as progress:
        progress.tiles(30)
        progress.slide("a", "done", "30 tiles")
        progress.slide("b", "failed", "SLIDE_EMPTY")
    with Progress(1, quiet=True) as silent:
        silent.slide("c", "done")

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("[1/2] a: done, 30 tiles (")
    assert "tiles/s" in lines[0]
    assert lines[1].startswith("[2/2] b: failed, SLIDE_EMPTY")
