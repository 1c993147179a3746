"""Start the page: Streamlit in a process of its own, on this machine alone unless told."""

import contextlib
import http.client
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from histokeras.app.settings import Settings, to_argument
from histokeras.errors import ConfigError, HistokerasError, MissingError

HERE = "127.0.0.1"
MAX_UPLOAD_MB = 20
"""Largest upload, in units of 1024 x 1024 bytes."""
PAGE = Path(__file__).parent / "page.py"
_ROOT = Path(__file__).parents[2]
_START_S = 60
_END_S = 2
_EVERYWHERE = ("0.0.0.0", "::")
_LOCAL = ("localhost", HERE)


def require_streamlit() -> None:
    """Refuse to start without the extra.

    Raises:
        MissingError: If Streamlit is not installed.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise MissingError(
            "`histokeras app` needs Streamlit, which is not installed.",
            hint='pip install "histokeras[app]"',
        )


def require_port(host: str, port: int) -> int:
    """Return a port that is free, the one given or, for 0, any.

    Raises:
        ConfigError: If it is taken, or the machine has no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # A page that was closed a moment ago has left its port half open.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            found: int = probe.getsockname()[1]
            return found
    except OSError as error:
        raise ConfigError(
            f"the page cannot listen on {host}, port {port}: {error.strerror or error}.",
            hint="Choose another --port, or 0 for any free one.",
        ) from error


def command_line(settings: Settings, host: str, port: int) -> list[str]:
    """Return what starts the page's process.

    Every setting that matters to safety is said here, so that no file of Streamlit's in a home or
    working folder has a say in it.
    """
    allowed = [] if host in _EVERYWHERE else [*dict.fromkeys((*_LOCAL, host))]
    options = {
        "server.address": host,
        "server.port": port,
        "server.headless": "true",
        "server.maxUploadSize": MAX_UPLOAD_MB,
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "server.enableXsrfProtection": "true",
        "server.enableCORS": "true",
        "server.enableStaticServing": "false",
        "server.enableAgentApi": "false",
        "browser.gatherUsageStats": "false",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "client.toolbarMode": "minimal",
        # Its tables would write cells into CSV files as they are, formulas too.
        "client.disableDataExport": "true",
        "global.developmentMode": "false",
        "logger.level": "error",
        "logger.hideWelcomeMessage": "true",
        "theme.base": "light",
        "theme.primaryColor": "#0072b2",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    # A page of another site whose name leads here (DNS rebinding) is not let in.
    words += [f"--server.allowedHosts={name}" for name in allowed]
    start = [sys.executable, "-m", "streamlit", "run", str(PAGE), *words]
    return [*start, "--", to_argument(settings)]


@contextlib.contextmanager
def serve(settings: Settings, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the page's process; at the end of the block it is ended.

    Args:
        settings: What the page shows.
        host: Address to listen on.
        port: A free port.

    Yields:
        The process, once the page answers.

    Raises:
        HistokerasError: If the page does not come up.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STREAMLIT_")}
    paths = [str(_ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    # Streamlit reads settings from the folder that it is started in: from this one, which has none.
    process = subprocess.Popen(
        command_line(settings, host, port),
        env=environment,
        cwd=PAGE.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        _await(process, host, port)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(process: subprocess.Popen[bytes]) -> None:
    """Wait until the page is closed.

    Raises:
        HistokerasError: If its process ends by itself.
    """
    raise _ended(process.wait())


def _ended(code: int) -> HistokerasError:
    return HistokerasError(f"the page's process ended by itself, with code {code}.")


def _await(process: subprocess.Popen[bytes], host: str, port: int) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise _ended(process.returncode)
        if _answers(host, port):
            return
        time.sleep(0.1)
    raise HistokerasError(f"the page has not answered within {_START_S} s.")


def _answers(host: str, port: int) -> bool:
    # Not by urllib, which would ask a proxy.
    link = http.client.HTTPConnection(_reachable(host), port, timeout=2)
    try:
        link.request("GET", "/_stcore/health")
        return link.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        link.close()


def _reachable(host: str) -> str:
    return {"0.0.0.0": HERE, "::": "::1"}.get(host, host)


def address(host: str, port: int) -> str:
    """Return what to type into a browser on this machine."""
    name = _reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def is_local(host: str) -> bool:
    """Tell whether only this machine can reach the page."""
    return host in ("localhost", "::1") or host.startswith("127.")
