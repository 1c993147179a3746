import json
import signal
from collections.abc import Callable

import pytest
from click.testing import Result

from histokeras.cli import main as main_module
from histokeras.cli.main import COMMANDS
from histokeras.errors import HistokerasError, OutputError

Call = Callable[..., Result]


def test_help_names_every_command_in_the_order_of_the_work(histokeras: Call) -> None:
    text = histokeras("--help").stdout.partition("Commands:")[2]

    places = [text.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(name: str, histokeras: Call) -> None:
    result = histokeras(name, "--help")

    assert result.exit_code == 0
    assert "Example" in result.stdout


def test_a_misspelt_command_gets_the_nearest_name(histokeras: Call) -> None:
    result = histokeras("fit-heads")

    assert result.exit_code == 2
    assert "Did you mean 'fit-head'?" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OutputError("disk full"), 6, "Error: disk full"),
        (HistokerasError("odd", hint="Do this."), 3, "Error: odd Do this."),
        (KeyboardInterrupt(), 130, "Interrupted: run the same command to resume."),
        (main_module._Terminated(), 143, "Terminated: run the same command to resume."),
        (ZeroDivisionError("x"), 1, "This is a bug of histokeras"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    histokeras: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def fails(*args: object) -> None:
        raise error

    monkeypatch.setattr("histokeras.cli.doctor._examine", fails)
    result = histokeras("doctor")

    assert result.exit_code == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_where_a_bug_is(histokeras: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ZeroDivisionError("here")

    monkeypatch.setattr("histokeras.cli.doctor._examine", fails)

    assert isinstance(histokeras("--debug", "doctor").exception, ZeroDivisionError)


def test_sigterm_is_handled(histokeras: Call) -> None:
    histokeras("doctor", "--help")

    assert signal.getsignal(signal.SIGTERM) is main_module._terminate


def test_doctor_reports_versions_devices_and_weights(histokeras: Call) -> None:
    result = histokeras("doctor", "--json")

    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["Versions"]["tensorflow"]
    assert report["Versions"]["OpenSlide library"]
    assert "inceptionv3" in report["ImageNet weights"]
    assert "GB" in report["Disk here"]["free"]
