import json
import os
from pathlib import Path

import numpy as np
import pytest

from histokeras.errors import SlideError, TableError
from histokeras.slides.inventory import (
    SlideRow,
    describe_slides,
    find_slides,
    format_inventory,
    inventory_json,
    read_slide_table,
    slide_id_of,
)
from histokeras.slides.synthetic import write_pyramid


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_folders_give_slides_sorted_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "b.svs", "a.TIFF", "c.ndpi", "notes.txt", ".hidden.svs", "p.png", "x.partial")
    touch(tmp_path, "deep/d.svs")

    assert names(find_slides([tmp_path])) == ["a.TIFF", "b.svs", "c.ndpi"]
    assert names(find_slides([tmp_path], recursive=True)) == ["a.TIFF", "b.svs", "c.ndpi", "d.svs"]


def test_files_named_one_by_one_are_always_taken(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.weird")
    (tmp_path / "c.svs").symlink_to(tmp_path / "nowhere")

    found = find_slides([tmp_path / "c.svs", tmp_path / "b.weird", tmp_path / "a.png"])

    assert names(found) == ["a.png", "b.weird", "c.svs"]
    assert len(find_slides([tmp_path / "a.png", tmp_path / "a.png"])) == 1


def test_nothing_found_says_why(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"no slide .*--recursive") as caught:
        find_slides([tmp_path])
    touch(tmp_path, "a.png", "b.jpg")
    with pytest.raises(SlideError, match=r"2 picture\(s\) there count only when named"):
        find_slides([tmp_path])
    with pytest.raises(SlideError, match="no such file") as missing:
        find_slides([tmp_path / "typo.svs"])

    assert caught.value.code == "NO_SLIDES"
    assert missing.value.code == "SLIDE_NOT_FOUND"


def test_two_slides_of_one_name_are_refused_with_both_paths(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.svs", "two/a.tif")

    with pytest.raises(TableError, match=r"`a`: .*one/a\.svs and .*two/a\.tif") as caught:
        find_slides([tmp_path], recursive=True)

    assert caught.value.code == "DUPLICATE_SLIDE_ID"


def test_a_folder_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", deny)

    with pytest.raises(SlideError, match="cannot be listed: Permission denied"):
        find_slides([tmp_path])


def test_the_slide_table_gives_mpp_and_patient_by_id_file_name_or_path(tmp_path: Path) -> None:
    path = tmp_path / "slides.csv"
    path.write_text("wsi,mpp,case_id\na.svs,0.25,P1\nsub/b.tif,,P2\nTCGA-1.2,0.5,\n")

    assert read_slide_table(path) == {
        "a": SlideRow(0.25, "P1"),
        "b": SlideRow(None, "P2"),
        "TCGA-1.2": SlideRow(0.5, None),
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("slide_id,mpp\na,fine\n", r"row 2: `mpp` is no number. Received: 'fine'"),
        ("slide_id,mpp\na,0.5\na.svs,0.25\n", r"row 3: slide `a` has another row"),
        ("name,mpp\na,0.5\n", r"lacks column\(s\) \['slide_id'\]"),
    ],
)
def test_a_damaged_slide_table_names_the_row(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "slides.csv"
    path.write_text(text)

    with pytest.raises(TableError, match=reason):
        read_slide_table(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = np.full((100, 200, 3), (200, 100, 150), np.uint8)
    write_pyramid(tmp_path / "good.tiff", image, mpp=0.5, downsamples=(2,))
    write_pyramid(tmp_path / "mute.tiff", image, mpp=None, downsamples=())
    (tmp_path / "bad.svs").write_bytes(b"")
    return tmp_path


def test_the_inventory_has_a_row_for_every_slide_and_its_reason(folder: Path) -> None:
    table = describe_slides(find_slides([folder])).set_index("slide")

    assert table["readable"].to_dict() == {"bad": False, "good": True, "mute": False}
    assert table["code"].to_dict() == {"bad": "SLIDE_EMPTY", "good": "", "mute": "MPP_MISSING"}
    good = table.loc["good"]
    assert (good["width"], good["height"], good["levels"], good["mpp"]) == (200, 100, 2, 0.5)
    assert good["mpp_source"] == "TIFF resolution"
    assert table.loc["mute", "width"] == 200


def test_the_users_mpp_makes_a_mute_slide_readable(folder: Path) -> None:
    paths = [folder / "mute.tiff"]

    by_table = describe_slides(paths, table={"mute": SlideRow(0.25)})
    by_default = describe_slides(paths, default_mpp=0.4)

    assert (by_table["mpp"][0], by_table["mpp_source"][0]) == (0.25, "slide table")
    assert (by_default["mpp"][0], by_default["mpp_source"][0]) == (0.4, "--default-mpp")


def test_the_list_is_aligned_text_or_one_json_document(folder: Path) -> None:
    table = describe_slides(find_slides([folder]))

    lines = format_inventory(table).splitlines()
    document = json.loads(inventory_json(table))

    assert len(lines) == 4
    column = lines[0].index("status")
    words = [line[column:].split(":")[0] for line in lines[1:]]
    assert words == ["SLIDE_EMPTY", "ok", "MPP_MISSING"]
    assert document["slides"][0]["mpp"] is None
    assert document["slides"][1]["width"] == 200


def test_a_slide_id_is_the_name_without_extension() -> None:
    assert slide_id_of("x/TCGA-A2-A0T2.UUID-1.svs") == "TCGA-A2-A0T2.UUID-1"


def test_whole_numbers_stay_whole_beside_a_slide_that_cannot_be_read(folder: Path) -> None:
    bad, good, _ = json.loads(inventory_json(describe_slides(find_slides([folder]))))["slides"]

    assert [bad[name] for name in ("width", "height", "levels")] == [None] * 3
    for name, value in {"width": 200, "height": 100, "levels": 2}.items():
        assert (good[name], type(good[name])) == (value, int)


def test_odd_names_do_not_break_the_list(tmp_path: Path) -> None:
    long = "x" * 200 + "1"
    touch(tmp_path, "a\nb.svs", f"{long}.svs", "c.svs")

    table = describe_slides(find_slides([tmp_path]))

    header, *lines = format_inventory(table).splitlines()
    assert [line.split()[0] for line in lines] == ["a\\nb", "c", "x" * 29 + "..." + "x" * 27 + "1"]
    assert {line.index("  -  ") >= header.index("format") - 2 for line in lines} == {True}
    assert header.index("format") == 62
    assert json.loads(inventory_json(table))["slides"][0]["slide"] == "a\nb"
