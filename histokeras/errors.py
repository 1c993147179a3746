"""Errors a user can act on: each says what is wrong, where, and what to do."""


class HistokerasError(Exception):
    """Base class of everything that histokeras raises on purpose.

    Attributes:
        exit_code: What the command line exits with.
        code: Short upper-case name of the case, such as ``MPP_MISSING``; it stands in failures.csv.
        hint: What to do about it, one sentence.
    """

    exit_code = 3
    default_code = "ERROR"

    def __init__(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        self.message = message
        self.code = code or self.default_code
        self.hint = hint
        super().__init__(f"{message} {hint}".strip())


class ConfigError(HistokerasError, ValueError):
    """An option, a config file or an environment variable asks for something impossible."""

    exit_code = 2
    default_code = "CONFIG"


class SlideError(HistokerasError):
    """A slide cannot be opened or read, or lacks metadata that is needed (often the mpp)."""

    default_code = "SLIDE_UNREADABLE"


class TableError(HistokerasError, ValueError):
    """A table lacks a column, or a column holds values that it must not hold."""

    default_code = "TABLE"


class LeakageError(HistokerasError, ValueError):
    """One patient lies on two sides of a split."""

    default_code = "LEAKAGE"


class FeatureError(HistokerasError, ValueError):
    """A feature or model file is damaged, or was made with other settings."""

    default_code = "FEATURES"


class MissingError(HistokerasError):
    """Weights or an optional package are not on this machine."""

    exit_code = 5
    default_code = "MISSING"


class OutputError(HistokerasError, OSError):
    """An output cannot be written."""

    exit_code = 6
    default_code = "OUTPUT_NOT_WRITABLE"
