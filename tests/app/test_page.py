"""The page's widgets, driven in this process by Streamlit's own harness."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from histokeras.app.server import MAX_UPLOAD_MB, PAGE
from histokeras.app.settings import Settings, to_argument
from histokeras.app.words import RESEARCH
from histokeras.files import copy_folder, write_json
from histokeras.runs.record import read_object
from tests.app.conftest import EVIL, painted

formparsers = pytest.importorskip("starlette.formparsers", reason="needs the extra `app`")
datastructures = pytest.importorskip("starlette.datastructures", reason="needs the extra `app`")
testing = pytest.importorskip("streamlit.testing.v1", reason="needs the extra `app`")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Open the page on some settings."""

    def open_page(settings: Settings) -> Any:
        monkeypatch.setattr("sys.argv", [str(PAGE), to_argument(settings)])
        page = testing.AppTest.from_file(str(PAGE), default_timeout=90).run()
        assert not page.exception
        return page

    return open_page


def html_of(page: Any) -> str:
    return "".join(item.body for item in page.get("html"))


def told(page: Any, kind: str) -> str:
    return " ".join(item.value.replace("\\", "") for item in page.get(kind))


def test_a_tile_of_the_run_is_read_from_its_slide_and_predicted(
    shown: Settings, opened: Callable[..., Any]
) -> None:
    page = opened(shown)

    assert [tab.label for tab in page.tabs] == ["Tile", "Slide", "Patients"]
    assert RESEARCH in html_of(page)
    assert "Read from the slide. Its label is glands." in told(page, "caption")
    assert not page.error
    captions = [str(item.proto.imgs[0].caption) for item in page.get("image")]
    assert captions[:2] == ["The tile", "Grad-CAM over it"]
    # The threshold decides what is called unsure.
    page.slider(key="threshold").set_value(0.0).run()
    assert "that you ask for" not in html_of(page)
    page.slider(key="threshold").set_value(1.0).run()
    assert "less than the 1.00 that you ask for" in html_of(page)


def test_an_upload_is_judged_by_its_content(shown: Settings, opened: Callable[..., Any]) -> None:
    page = opened(shown)
    page.radio[0].set_value("Your own picture").run()
    assert "Upload a picture" in told(page, "info")
    buffer = io.BytesIO()
    painted(200).save(buffer, "PNG")

    page.file_uploader[0].set_value(("mine.png", buffer.getvalue(), "image/png")).run()

    assert not page.error
    assert "Your picture (PNG, 200 x 200 px)." in told(page, "caption")
    assert "resampled to 64 x 64 px" in told(page, "caption")
    page.number_input[0].set_value(0.25).run()
    assert "The middle 128 x 128 px were cut out." in told(page, "caption")
    # Grad-CAM of the other class, and no trace of an error on the way.
    chosen = page.selectbox[0]
    other = next(name for name in chosen.options if name != chosen.value)
    chosen.set_value(other).run()
    assert not page.error

    page.file_uploader[0].set_value(("tile.png", b"%!PS-Adobe", "image/png")).run()
    assert told(page, "error").startswith("`tile.png` is no PNG, JPEG or TIFF, or damaged.")
    grey = io.BytesIO()
    Image.new("RGB", (128, 128), (120, 120, 120)).save(grey, "PNG")
    page.file_uploader[0].set_value(("grey.png", grey.getvalue(), "image/png")).run()
    assert "Out of scope? It has hardly any colour" in told(page, "warning")


def test_slides_known_and_new(shown: Settings, opened: Callable[..., Any]) -> None:
    page = opened(shown)
    slides = page.selectbox[-1]
    assert slides.options == ["S1", "S2"]
    assert "3 tiles. These predictions are those of the run." in told(page, "caption")
    assert ">67%<" in html_of(page)

    slides.set_value("S2").run()
    assert "The run holds no predictions of this slide." in told(page, "info")
    page.button[0].click().run()

    assert not page.error
    assert "20 tiles. Predicted on this page; nothing was written." in told(page, "caption")
    assert not (shown.run / "predictions" / "S2.csv").exists()


def test_patients_are_listed_and_their_names_are_text(
    shown: Settings, opened: Callable[..., Any]
) -> None:
    page = opened(shown)

    people, tissue = (item.value for item in page.dataframe)
    assert people["patient_id"].tolist() == ["007", EVIL]
    assert tissue["share_glands"].tolist() == [0.667]
    page.radio[-1].set_value("train").run()
    assert page.dataframe[0].value["patient_id"].tolist() == [EVIL]
    assert EVIL not in "".join(item.value for item in page.get("markdown"))


def test_a_bug_is_one_line_without_folders(
    shown: Settings, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(facts: object) -> None:
        raise ValueError("/home/somebody/secret/file.csv\nis broken")

    monkeypatch.setattr("histokeras.app.patients.patients_table", broken)

    page = opened(shown)

    (error,) = page.error
    assert told(page, "error").startswith("ValueError: file.csvnis broken This looks like a bug")
    assert "\n" not in error.value
    assert not page.exception


def test_uploads_stay_in_memory(shown: Settings, opened: Callable[..., Any]) -> None:
    opened(shown)
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n'
    data = bytes(MAX_UPLOAD_MB << 20)

    async def stream() -> AsyncIterator[bytes]:
        yield head + data + b"\r\n--x--\r\n"

    async def parse() -> bool:
        headers = datastructures.Headers({"content-type": "multipart/form-data; boundary=x"})
        form = await formparsers.MultiPartParser(headers, stream()).parse()
        rolled: bool = form["f"].file._rolled
        await form.close()
        return rolled

    assert asyncio.run(parse()) is False


def test_runs_without_tiles_or_slides_say_so(
    shown: Settings, opened: Callable[..., Any], tmp_path: Path
) -> None:
    run = copy_folder(shown.run, tmp_path / "run", last="run.json")
    card = read_object(run / "head" / "model.json")
    write_json(run / "head" / "model.json", card | {"task": "regression", "target": "score"})

    page = opened(replace(shown, run=run))

    assert told(page, "info").count("This run predicts a number (score)") == 2
    assert len(page.dataframe) == 2
    write_json(run / "head" / "model.json", card | {"head_sha256": "0" * 64})
    damaged = opened(replace(shown, run=run, slides=None))
    assert [tab.label for tab in damaged.tabs] == ["Tile", "Patients"]
    assert len(damaged.error) == 1
    assert "\n" not in damaged.error[0].value
