"""How the page is started, and how the command speaks. Without Streamlit."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from histokeras.app import server
from histokeras.app.settings import Settings, from_arguments
from histokeras.cli.main import main
from histokeras.errors import ConfigError, HistokerasError
from histokeras.files import write_json


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["app", *map(str, arguments)])


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would be served; nothing is."""
    calls: list[tuple[Any, ...]] = []

    @contextlib.contextmanager
    def serve(*arguments: Any) -> Iterator[None]:
        calls.append(arguments)
        yield

    def closed(process: None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr(server, "wait", closed)
    return calls


def test_the_page_listens_here_alone_and_says_nothing(
    shown: Settings, started: list[tuple[Any, ...]]
) -> None:
    result = call(shown.run, "--slides", shown.slides, "--port", 0)

    assert result.exit_code == 0, result.output
    ((settings, host, port),) = started
    assert (settings.run, settings.slides) == (shown.run, shown.slides)
    assert host == "127.0.0.1"
    assert result.stdout == f"http://127.0.0.1:{port}\n"
    assert "Warning" not in result.stderr
    assert "The page is closed." in result.stderr
    words = server.command_line(settings, host, port)
    for option in (
        "--server.address=127.0.0.1", "--server.headless=true", "--server.maxUploadSize=20",
        "--browser.gatherUsageStats=false", "--server.enableXsrfProtection=true",
        "--server.enableCORS=true", "--server.fileWatcherType=none",
        "--server.enableStaticServing=false", "--client.showErrorDetails=none",
        "--server.allowedHosts=localhost", "--server.allowedHosts=127.0.0.1",
    ):  # fmt: skip
        assert option in words
    assert from_arguments(words[words.index("--") + 1 :]) == settings


def test_another_host_must_be_said_and_warns(
    shown: Settings, started: list[tuple[Any, ...]]
) -> None:
    result = call(shown.run, "--host", "0.0.0.0", "--port", 0)

    assert result.exit_code == 0
    assert "shows this run, its slides and its patients to everybody" in result.stderr
    settings, host, port = started[0]
    assert host == "0.0.0.0"
    assert result.stdout == f"http://127.0.0.1:{port}\n"
    assert not any("allowedHosts" in word for word in server.command_line(settings, host, port))
    assert not server.is_local("192.168.1.4")
    assert server.is_local("127.0.0.1")
    assert server.address("::1", 80) == "http://[::1]:80"


def test_slips_are_told_before_anything_starts(
    shown: Settings, started: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    write_json(tmp_path / "run.json", {"command": "fit-head", "status": "running"})
    for arguments, code, says in [
        ((tmp_path,), 3, "has not finished"),
        ((shown.slides,), 3, "holds no finished run"),
        ((shown.run, "--slides", shown.run / "pictures"), 3, "no slide"),
        ((shown.run, "--predictions", shown.slides), 3, "holds no predictions of this run"),
        ((shown.run, "--slides", tmp_path / "none"), 2, "does not exist"),
    ]:
        result = call(*arguments)
        assert result.exit_code == code, result.output
        assert says in " ".join(result.stderr.split())
    assert not started


def test_a_taken_port_and_a_strange_address_are_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="cannot listen on 127"):
            server.require_port("127.0.0.1", other.getsockname()[1])
    # 192.0.2.0/24 is for documentation: no machine has it.
    with pytest.raises(ConfigError, match="Choose another --port"):
        server.require_port("192.0.2.1", 0)


def test_without_streamlit_the_extra_is_named(
    shown: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    result = call(shown.run)

    assert result.exit_code == 5
    assert 'pip install "histokeras[app]"' in result.stderr


def test_a_page_that_dies_at_once_is_told(
    shown: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server, "command_line", lambda *_: ["python3", "-c", "raise SystemExit(7)"])

    with (
        pytest.raises(HistokerasError, match="ended by itself, with code 7"),
        server.serve(shown, "127.0.0.1", 9),
    ):
        pytest.fail("nothing answers")
