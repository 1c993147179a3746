"""Requests to the GDC's server: which answers are final, which are worth another try, and when."""

import datetime as dt
import email.utils
import random
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

from histokeras.errors import ConfigError, MissingError, SlideError

SERVER = "https://api.gdc.cancer.gov"
LOST = "GDC_UNREACHABLE"
REFUSES_RANGE, WRONG_SIZE = "range", "size"
"""Kinds of failure that are not met by asking the same again."""
_NO_SUCH_RANGE = 416
_PASSING = frozenset({408, _NO_SUCH_RANGE, 425, 429})
_LONGEST_WAIT_S = 600.0
NETWORK_ERRORS = (OSError, HTTPException)
"""What a request or a read raises where the connection fails; timeouts are OSErrors."""


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How patient to be with a server.

    Attributes:
        timeout_s: Seconds without a byte after which a connection counts as dead.
        tries: How often in a row something may fail without one byte gained.
        whole_tries: How often a file is fetched from its first byte because its MD5 is wrong.
        pause_s: Seconds before the second try; doubled each time, times 0.5 to 1.5 at random.
        longest_pause_s: Most seconds between two tries, unless the server asks for more.
    """

    timeout_s: float = 60.0
    tries: int = 8
    whole_tries: int = 3
    pause_s: float = 1.0
    longest_pause_s: float = 60.0

    def pause(self, failures: int, asked_s: float | None) -> float:
        """Return for how many seconds to wait after so many failures in a row (1 or more)."""
        usual: float = min(self.pause_s * 2.0 ** (failures - 1), self.longest_pause_s)
        # Not in step with the other workers.
        usual *= 0.5 + random.random()
        return usual if asked_s is None else max(usual, min(asked_s, _LONGEST_WAIT_S))


class PassingError(Exception):
    """A failure that may pass.

    Args:
        reason: What happened.
        asked_s: For how many seconds the server asks to wait, None if it does not.
        kind: ``REFUSES_RANGE``, ``WRONG_SIZE`` or "" for any other.
    """

    def __init__(self, reason: str, asked_s: float | None = None, *, kind: str = "") -> None:
        self.reason, self.asked_s, self.kind = reason, asked_s, kind
        super().__init__(reason)


class StoppedError(Exception):
    """The work was told to stop."""


def require_server(url: str) -> str:
    """Return a server's address without a slash at its end.

    Raises:
        ConfigError: If it is no http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ConfigError(f"`--server` is an address such as {SERVER}. Received: {url!r}")
    return url.rstrip("/")


def open_url(request: urllib.request.Request, timeout_s: float) -> HTTPResponse:
    """Send a request.

    Returns:
        The response, to be closed by the caller.

    Raises:
        PassingError: If the server cannot be reached, or answers 408, 416, 425, 429 or 5xx.
        MissingError: GDC_UNREACHABLE if there is no server of that name.
        SlideError: GDC_REFUSED for any other answer that is none of success.
    """
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            if error.code >= 500 or error.code in _PASSING:
                asked = _asked_s(error.headers.get("Retry-After"))
                kind = REFUSES_RANGE if error.code == _NO_SUCH_RANGE else ""
                reason = f"the server answered {error.code}"
                raise PassingError(reason, asked, kind=kind) from error
            raise SlideError(
                f"the server answered {error.code} ({error.reason}) to {request.full_url}.",
                code="GDC_REFUSED",
                hint="It may be gone or under controlled access: look it up in the GDC portal.",
            ) from error
    except NETWORK_ERRORS as error:
        cause = getattr(error, "reason", None)
        # A name server that is out of reach says EAI_AGAIN: that may pass, a wrong name does not.
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
            raise MissingError(
                f"there is no server {urlsplit(request.full_url).hostname!r}.",
                code=LOST,
                hint="Check --server, and whether this machine is online.",
            ) from error
        raise PassingError(reason_of(error)) from error
    return response


def reason_of(error: Exception) -> str:
    """Return in a few words why a connection failed."""
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(reason).__name__


def _asked_s(value: str | None) -> float | None:
    """Read ``Retry-After``: seconds or a date; None for anything else."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        return None
    return max(0.0, (when - dt.datetime.now(dt.UTC)).total_seconds())


def lost_server(what: str, tries: int, reason: str) -> MissingError:
    """Return the error of something that failed in every try."""
    return MissingError(
        f"{what}: failed {tries} times in a row, the last: {reason}.",
        code=LOST,
        hint="Is the network there, and the server? Run the same command to resume.",
    )


def wait(seconds: float, stop: threading.Event) -> None:
    """Wait, unless told to stop meanwhile.

    Raises:
        StoppedError: If so.
    """
    if stop.wait(seconds):
        raise StoppedError


def ask(
    request: urllib.request.Request, manner: Manner, most_bytes: int, say: Callable[[str], None]
) -> bytes:
    """Return the whole answer to a request, tried again while failures may pass.

    Args:
        request: What is asked.
        manner: How patient to be.
        most_bytes: Its largest allowed size.
        say: Told of every failure.

    Raises:
        MissingError: GDC_UNREACHABLE if every try failed.
        SlideError: GDC_REFUSED if the server refuses, or its answer is too large.
    """
    reason = ""
    for failures in range(1, manner.tries + 1):
        try:
            data = _whole_answer(request, manner.timeout_s, most_bytes)
        except PassingError as error:
            reason = error.reason
            if failures < manner.tries:
                pause = manner.pause(failures, error.asked_s)
                say(f"{request.full_url}: {reason}; tried again in {pause:.0f} s")
                threading.Event().wait(pause)
            continue
        if len(data) > most_bytes:
            raise SlideError(
                f"the answer of {request.full_url} is too large.",
                code="GDC_REFUSED",
                hint="Is this a server of the GDC?",
            )
        return data
    raise lost_server(request.full_url, manner.tries, reason)


def _whole_answer(request: urllib.request.Request, timeout_s: float, most_bytes: int) -> bytes:
    with open_url(request, timeout_s) as response:
        told = response.headers.get("Content-Length")
        try:
            data = response.read(most_bytes + 1)
        except NETWORK_ERRORS as error:
            raise PassingError(reason_of(error)) from error
        if told is not None and told != str(len(data)) and len(data) <= most_bytes:
            raise PassingError("the connection broke off")
    return data
