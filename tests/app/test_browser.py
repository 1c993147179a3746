"""The page in a real browser: started as it is typed, used as a pathologist would."""

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from histokeras.app.server import MAX_UPLOAD_MB
from histokeras.app.settings import Settings
from tests.app.conftest import painted

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytest.importorskip("streamlit", reason="needs the extra `app`")
pw = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, as Debian packs it")
ROOT = Path(__file__).parents[2]
_WAIT_MS = 60_000
_UPLOAD = """async (bytes) => {
    const token = document.cookie.match(/_streamlit_xsrf=([^;]+)/)[1];
    const form = new FormData();
    form.append("file", new Blob([new Uint8Array(bytes)]), "x.png");
    const known = performance.getEntriesByType("resource").map((entry) => entry.name);
    const place = known.find((name) => name.includes("upload_file"));
    const how = {method: "PUT", headers: {"X-Xsrftoken": token}, body: form};
    return (await fetch(place, how)).status;
}"""


@pytest.fixture(scope="module")
def address(shown: Settings) -> Iterator[str]:
    """The page of a run, served by the command on any free port."""
    words = ["app", shown.run, "--slides", shown.slides, "--composition", shown.composition]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-m", "histokeras", *map(str, words), "--port", "0"],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    try:
        yield address
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()
    # With the command its page has gone.
    place = urlsplit(address)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(place.hostname), place.port or 0), timeout=5)


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    with pw.sync_playwright() as playwright:
        # As root, as in a container, Chromium has no sandbox.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


def test_upload_predict_slide_and_refuse_without_a_word_to_others(
    address: str, tmp_path: Path
) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
    tile, huge = tmp_path / "mine.png", tmp_path / "huge.png"
    painted(128).save(tile)
    huge.write_bytes(tile.read_bytes() + bytes(MAX_UPLOAD_MB << 20))
    asked: list[str] = []
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(_WAIT_MS)
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda link: asked.append(link.url))
        page.goto(address)
        page.get_by_text("Opacity of the map").wait_for()
        assert page.get_by_text("Not a medical device.").is_visible()

        page.get_by_text("Your own picture").click()
        page.locator("input[type=file]").set_input_files(tile)
        page.get_by_text("Your picture (PNG, 128 x 128 px)").wait_for()
        overlay = page.locator("img").nth(1)
        before = overlay.get_attribute("src")
        page.get_by_role("slider", name="Opacity of the map").focus()
        page.keyboard.press("End")
        page.wait_for_function(
            "([old]) => document.querySelectorAll('img')[1].getAttribute('src') !== old",
            arg=[before],
        )

        page.locator("input[type=file]").set_input_files(huge)
        page.get_by_text(f"{MAX_UPLOAD_MB}.0MB or smaller").wait_for()

        page.get_by_role("tab", name="Slide").click()
        page.get_by_text("Most probable class of each tile").wait_for()
        with page.expect_download() as found:
            page.get_by_text("Tiles as CSV").click()
        assert found.value.path().read_text().startswith("minx,miny,width,height,prob_glands")
        page.get_by_role("tab", name="Patients").click()
        page.get_by_text("2 rows as CSV").wait_for()
        assert page.get_by_text("Traceback").count() == 0
        # Past the page's own check the server refuses too.
        assert (
            page.evaluate(_UPLOAD, (MAX_UPLOAD_MB << 20) + 1)
            == http.client.REQUEST_ENTITY_TOO_LARGE
        )
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
    assert len(asked) > 20
    assert hosts == {urlsplit(address).netloc}


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("", "", http.client.SWITCHING_PROTOCOLS),
        # A stranger's page whose name leads to this machine; a stranger's page as it is.
        ("stranger.example", "http://stranger.example", http.client.FORBIDDEN),
        ("", "http://stranger.example", http.client.FORBIDDEN),
    ],
)
def test_pages_of_strangers_do_not_get_in(
    address: str, host: str, origin: str, status: int
) -> None:
    place = urlsplit(address)
    link = http.client.HTTPConnection(str(place.hostname), place.port, timeout=20)
    link.putrequest("GET", "/_stcore/stream", skip_host=True)
    for name, value in {
        "Host": host or place.netloc, "Origin": origin or address, "Upgrade": "websocket",
        "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDAwMDAwMDAwMDAwMDAwMA==",
    }.items():  # fmt: skip
        link.putheader(name, value)
    link.endheaders()
    assert link.getresponse().status == status
    link.close()


def test_an_upload_without_the_pages_token_is_refused(address: str) -> None:
    place = urlsplit(address)
    link = http.client.HTTPConnection(str(place.hostname), place.port, timeout=20)
    link.request("PUT", "/_stcore/upload_file/0/0", b"x")
    assert link.getresponse().status == http.client.FORBIDDEN
    link.close()
