"""What pages of finished folders read, and what they say of damaged ones."""

import json
from pathlib import Path

import pytest

from histokeras.errors import FeatureError, TableError
from histokeras.report.page_files import PageKind, files_table, read_finished, read_texts, started

_KIND = PageKind(
    what="painting",
    is_whole=lambda metrics: "figures" in metrics,
    again="Paint anew.",
    files={"run.json": "settings", "pictures": "pictures", "other.csv": "nothing"},
)


def _folder(path: Path, record: object, metrics: object) -> Path:
    (path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    (path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return path


def test_a_finished_folder_is_read_without_control_characters(tmp_path: Path) -> None:
    folder = _folder(tmp_path, {"status": "done", "note": "a\u202eb"}, {"figures": ["\t"]})
    (folder / "dropped.csv").write_text("kind,id,reason\nimage,x,no\x07mask\n", encoding="utf-8")
    (folder / "pictures").mkdir()

    run = read_finished(folder, _KIND)

    assert run.record["note"] == "a\ufffdb"
    assert run.metrics["figures"] == [" "]
    assert run.tables["dropped"]["reason"][0] == "no\ufffdmask"
    assert [row[0] for row in files_table(folder, _KIND).rows] == ["run.json", "pictures/"]


@pytest.mark.parametrize(
    ("record", "metrics", "code"),
    [
        ({"status": "running"}, {"figures": 1}, "RUN_UNFINISHED"),
        ({"status": "done"}, {}, "RUN_UNFINISHED"),
        ({"status": "done"}, {"else": 1}, "RECORD_DAMAGED"),
    ],
)
def test_unfinished_and_damaged_folders_are_refused(
    tmp_path: Path, record: object, metrics: object, code: str
) -> None:
    with pytest.raises(FeatureError) as raised:
        read_finished(_folder(tmp_path, record, metrics), _KIND)
    assert raised.value.code == code


def test_tables_may_be_empty_but_not_missing_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert read_texts(path, _KIND, optional=True).empty
    with pytest.raises(TableError, match=r"a\.csv cannot be read"):
        read_texts(path, _KIND)
    path.write_text("", encoding="utf-8")
    assert read_texts(path, _KIND).empty
    with pytest.raises(TableError, match=r"a\.csv lacks curve"):
        read_texts(path, _KIND, ("curve",))
    assert started({"started": "2026-03-01T14:05:59+00:00"}) == "2026-03-01 14:05 UTC"
    assert started({}) == ""
