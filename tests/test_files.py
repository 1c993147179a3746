import errno
import os
from pathlib import Path

import pandas as pd
import pytest

from histokeras import files
from histokeras.errors import OutputError


def test_files_are_written_whole_and_replace_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"ü": [1, None]})
    files.write_json(path, {"b": 2})

    assert path.read_text() == '{\n  "b": 2\n}\n'
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def write_half() -> None:
        with files.temporary_path(path) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()

    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught, files.temporary_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert caught.value.code == "DISK_FULL"
    assert caught.value.exit_code == 6
    assert "resume" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="cannot write"):
        files.prepare_folder(tmp_path / "file" / "out")


@pytest.mark.parametrize(
    "name",
    ["plain", "with space", "a,b", 'q"q', "ü-😀", "-dash", ".hidden", "50%", "new\nline", "a/b"],
)
def test_names_become_safe_and_come_back(name: str) -> None:
    safe = files.safe_name(name)

    assert "/" not in safe
    assert "\n" not in safe
    assert not safe.startswith((".", "-"))
    assert files.original_name(safe) == name


def test_long_names_are_cut_but_stay_different() -> None:
    a, b = files.safe_name("x" * 300 + "a"), files.safe_name("x" * 300 + "b")

    assert a != b
    assert len(a.encode()) <= 180


def test_equal_content_has_one_canonical_text() -> None:
    assert files.canonical_json({"b": 1, "a": [1.5, "ü"]}) == '{"a":[1.5,"ü"],"b":1}'


def test_tables_read_back_to_the_same_values(tmp_path: Path) -> None:
    table = pd.DataFrame({"p": [0.1, 1 / 3], "id": ["001", "a,b"]})
    files.write_csv(tmp_path / "t.csv", table, header="# made by a test")

    text = (tmp_path / "t.csv").read_text()
    again = pd.read_csv(tmp_path / "t.csv", skiprows=1, dtype={"id": str})

    assert text.startswith("# made by a test\np,id\n")
    pd.testing.assert_frame_equal(again, table, check_dtype=False)


def test_digests_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    assert files.sha256_file(tmp_path / "a") == files.sha256_text("abc") == expected


def test_what_a_dead_writer_left_is_removed_after_a_day(tmp_path: Path) -> None:
    names = [".a.h5.host.12.345.part.h5", ".b.csv.host.12.345.part.csv", ".kept.part.h5", "c.part"]
    for name in names:
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x" / name).write_bytes(b"half")
        os.utime(tmp_path / "x" / name, (0, 0))
    os.utime(tmp_path / "x" / names[1])

    files.remove_leftovers(tmp_path)

    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == sorted(names[1:])
