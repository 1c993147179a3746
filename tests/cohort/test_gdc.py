import dataclasses
import socket
from pathlib import Path

import pytest

from histokeras.cohort.gdc import (
    GdcFile,
    choose_files,
    count_files,
    format_counts,
    note_no_diagnostic,
    read_manifest,
    save_manifest,
    write_manifest,
)
from histokeras.cohort.gdc_http import Manner
from histokeras.cohort.gdc_query import query_files
from histokeras.cohort.tcga import SlideChoice
from histokeras.errors import ConfigError, MissingError, SlideError, TableError
from tests.cohort.gdc_server import serving

ID = "0000b231-7c05-4e2e-8c9e-6d0675bfbb3{}"
MD5 = "4a4235435f84b56885c48a1051b9824a"
DX = "TCGA-55-8514-01Z-00-DX1.0e0f5cf3-96e9-4a35-aaed-4340df78d389.svs"
TS = "TCGA-55-8514-01A-01-TS1.0e0f5cf3-96e9-4a35-aaed-4340df78d380.svs"
NORMAL = "TCGA-22-5477-11A-01-TS1.25b8da50-db12-479d-98ff-da2eaa25cb69.svs"
FILES = tuple(
    GdcFile(ID.format(i), name, MD5, size, "live")
    for i, (name, size) in enumerate([(DX, 3_000_000_000), (TS, 10), (NORMAL, 20), ("x.svs", 30)])
)
QUICK = Manner(timeout_s=5, tries=3, pause_s=0.001)


def write_rows(path: Path, *rows: str, header: str = "id filename md5 size state") -> Path:
    path.write_text("".join("\t".join(row.split(" ")) + "\n" for row in (header, *rows)))
    return path


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.tsv", FILES)

    assert read_manifest(tmp_path / "m.tsv") == FILES
    lines = (tmp_path / "m.tsv").read_text().splitlines()
    assert lines[0] == "id\tfilename\tmd5\tsize\tstate"
    assert lines[2] == f"{ID.format(1)}\t{TS}\t{MD5}\t10\tlive"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"x1 a.svs {MD5} 1 live", r"row 3: id is a UUID .* Received: 'x1'"),
        (f"{ID.format(2)} a.svs {MD5[1:]} 1 live", "row 3: md5 is 32 hexadecimal digits"),
        (f"{ID.format(2)} a.svs {MD5} 1.5 live", "row 3: size is a whole .* Received: '1.5'"),
        (f"{ID.format(2)} a.svs {MD5} 0 live", "row 3: size is a whole number of bytes above 0"),
        (f"{ID.format(2)} a.svs {MD5} 1 <b>", "row 3: state is a word"),
        (f"{ID.format(1).upper()} a.svs {MD5} 1 live", "row 3: id `.*` stands in row 2 too"),
        (f"{ID.format(2)} B.SVS {MD5} 1 live", "row 3: filename `B.SVS` stands in row 2 too"),
    ],
)
def test_a_bad_row_is_named_with_its_cell(tmp_path: Path, row: str, message: str) -> None:
    path = write_rows(tmp_path / "m.tsv", f"{ID.format(1)} b.svs {MD5} 7 live", row)

    with pytest.raises(TableError, match=message):
        read_manifest(path)


@pytest.mark.parametrize(
    "name",
    ["../a.svs", "a/b.svs", "a\\b.svs", "a..svs", "-rf.svs", ".bashrc", "=1.svs", "run.json",
     "LEASES", "a.svs.partial", "a\x1b.svs", "é.svs", "a" * 181],
)  # fmt: skip
def test_a_filename_that_could_do_harm_is_refused(tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / "m.tsv", f"{ID.format(1)} {name} {MD5} 7 live")

    with pytest.raises(TableError, match="row 2: filename") as caught:
        read_manifest(path)
    assert caught.value.code == "PATH_UNSAFE"


def test_a_table_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    no_md5 = write_rows(tmp_path / "a.tsv", f"{ID.format(1)} a.svs 7", header="id filename size")
    empty = write_rows(tmp_path / "b.tsv")

    with pytest.raises(TableError, match=r"lacks the column\(s\) md5, state"):
        read_manifest(no_md5)
    with pytest.raises(TableError, match="has no rows"):
        read_manifest(empty)


def test_another_manifest_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "new/m.tsv"

    save_manifest(path, FILES)
    save_manifest(path, FILES)
    with pytest.raises(ConfigError, match="holds something else"):
        save_manifest(path, FILES[:1])
    assert read_manifest(path) == FILES
    save_manifest(path, FILES[:1], overwrite=True)
    assert read_manifest(path) == FILES[:1]


def test_files_are_counted_by_kind_and_sample_type() -> None:
    counts = count_files(FILES)

    assert counts.to_numpy().tolist() == [
        ["", "", 1, 0, 30],
        ["DX", "01", 1, 1, 3_000_000_000],
        ["TS", "01", 1, 1, 10],
        ["TS", "11", 1, 1, 20],
    ]
    text = format_counts(counts)
    assert "DX (diagnostic)   01 (primary tumour)      1         1  3.0" in text
    assert text.splitlines()[-1].split() == ["all", "4", "3.0"]


def test_files_are_chosen_by_barcode() -> None:
    diagnostic, chosen = choose_files(FILES, SlideChoice(diagnostic_only=True))

    assert [file.filename for file in diagnostic] == [DX, "x.svs"]
    assert set(chosen.left_out) == {TS, NORMAL}
    assert note_no_diagnostic(FILES) == ""
    assert "--diagnostic-only leaves none" in note_no_diagnostic(FILES[1:3])


def test_the_real_manifest_is_read_whole(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "tables/gdc_manifest_20170302_003611.txt"

    files = read_manifest(path)
    counts = count_files(files)

    assert len(files) == 2167
    assert sum(file.size for file in files) == 411_885_393_294
    assert counts.groupby("kind")["files"].sum().to_dict() == {"BS": 792, "TS": 1375}
    assert "all 2167 file(s) are frozen sections" in note_no_diagnostic(files)
    with pytest.raises(SlideError, match="leaves none of the 2167"):
        choose_files(files, SlideChoice(diagnostic_only=True))
    write_manifest(tmp_path / "m.tsv", files)
    assert (tmp_path / "m.tsv").read_bytes() == path.read_bytes() + b"\n"


def hits_of(files: tuple[GdcFile, ...]) -> list[dict[str, object]]:
    names = {"id": "file_id", "filename": "file_name", "md5": "md5sum", "size": "file_size"}
    rows = [dataclasses.asdict(file) for file in files]
    return [{names.get(key, key): value for key, value in row.items()} for row in rows]


def test_a_query_goes_through_all_pages_and_a_busy_server() -> None:
    said: list[str] = []
    with serving() as server:
        server.hits, server.moods["files"] = hits_of(FILES), [503, 429]
        files = query_files(
            ["TCGA-LUAD"], "tissue", server=server.url, say=said.append, manner=QUICK, page=3
        )

    assert set(files) == set(FILES)
    assert [(query["from"], query["size"]) for query in server.queries[2:]] == [(0, 3), (3, 3)]
    wanted = {
        item["content"]["field"]: item["content"]["value"]
        for item in server.queries[-1]["filters"]["content"]
    }
    assert wanted == {
        "cases.project.project_id": ["TCGA-LUAD"],
        "data_type": ["Slide Image"],
        "experimental_strategy": ["Tissue Slide"],
    }
    assert ["answered 503" in said[0], "answered 429" in said[1], len(said)] == [True, True, 2]


def test_a_query_that_fails_says_why() -> None:
    with serving() as server:

        def ask() -> None:
            query_files(["TCGA-X"], "all", server=server.url, say=lambda _: None, manner=QUICK)

        with pytest.raises(SlideError, match="the GDC has no slides of TCGA-X"):
            ask()
        server.hits = [*hits_of(FILES[:1]), {"file_id": "../x"}]
        with pytest.raises(TableError, match="file 2: id is a UUID"):
            ask()
        server.moods["files"] = [400]
        with pytest.raises(SlideError, match=r"answered 400"):
            ask()
        server.moods["files"] = [500] * 3
        with pytest.raises(MissingError, match=r"failed 3 times in a row, .* answered 500"):
            ask()
        with pytest.raises(ConfigError, match="`--project` is a name"):
            query_files(["a b"], "all", server=server.url, say=lambda _: None)
        with pytest.raises(ConfigError, match="`--server` is an address"):
            query_files(["TCGA-X"], "all", server="file:///etc", say=lambda _: None)


def test_a_server_of_no_name_is_told_at_once_but_a_lost_name_server_may_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = [socket.EAI_AGAIN, socket.EAI_NONAME]
    said: list[str] = []

    def lookup(*_: object, **__: object) -> None:
        raise socket.gaierror(codes.pop(0), "no address")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)

    with pytest.raises(MissingError, match=r"there is no server 'gdc\.invalid'"):
        query_files(["TCGA-X"], "all", server="http://gdc.invalid", say=said.append, manner=QUICK)

    assert not codes
    assert len(said) == 1
    assert "tried again" in said[0]
