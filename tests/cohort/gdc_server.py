"""A server like the GDC's that misbehaves as told, file by file and request by request."""

import hashlib
import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from histokeras.cohort.gdc import GdcFile


class GdcServer(ThreadingHTTPServer):
    """Serves ``/data/<id>`` and ``/files``; ``moods[id]`` is used up from its front, one a request.

    truncate: half of what is asked for, then the end. stall: half, then silence. ignore range: the
    whole file. wrong: other bytes of the same length. shifted: another range than asked for. long:
    a larger file. A number: that status.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contents: dict[str, bytes] = {}
        self.moods: dict[str, list[str | int]] = {}
        self.always: dict[str, str | int] = {}
        self.requests: list[tuple[str, int]] = []
        self.queries: list[dict[str, Any]] = []
        self.sent: Counter[str] = Counter()
        self.hits: list[dict[str, Any]] = []
        self.retry_after = "0"
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, name: str, *moods: str | int, size: int = 50_000, always: str = "") -> GdcFile:
        seed = len(self.contents)
        content = np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()
        identifier = str(uuid.UUID(int=seed + 1))
        self.contents[identifier] = content
        self.moods[identifier] = list(moods)
        if always:
            self.always[identifier] = always
        md5 = hashlib.md5(content).hexdigest()
        return GdcFile(identifier, name, md5, size, "released")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: GdcServer

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the screen."""

    def do_GET(self) -> None:
        identifier = self.path.removeprefix("/data/")
        asked = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.server.requests.append((identifier, asked))
        moods = self.server.moods.get(identifier) or []
        mood = moods.pop(0) if moods else self.server.always.get(identifier, "")
        if isinstance(mood, int) or identifier not in self.server.contents:
            self._status(mood if isinstance(mood, int) else 404)
            return
        content = self.server.contents[identifier]
        if mood == "wrong":
            content = bytes(len(content))
        if mood == "long":
            content += b"more"
        self._content(identifier, content, 0 if mood == "ignore range" else asked, mood)

    def _content(self, identifier: str, content: bytes, start: int, mood: str) -> None:
        body, total = content[start:], len(content)
        self.send_response(206 if start else 200)
        if start:
            first = start + (mood == "shifted")
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if mood in ("truncate", "stall"):
            body = body[: len(body) // 2]
        self.wfile.write(body)
        self.wfile.flush()
        self.server.sent[identifier] += len(body)
        if mood == "stall":
            self.server.closing.wait(5)

    def _status(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.queries.append(query)
        moods = self.server.moods.get("files") or []
        if moods:
            self._status(int(moods.pop(0)))
            return
        hits = self.server.hits[query["from"] : query["from"] + query["size"]]
        total = len(self.server.hits)
        body = json.dumps({"data": {"hits": hits, "pagination": {"total": total}}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving() -> Iterator[GdcServer]:
    with GdcServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
