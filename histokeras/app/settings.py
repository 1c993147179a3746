"""What the page shows, as the command hands it on to the page's own process."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from histokeras.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the page shows. Nobody at the page can change it.

    Attributes:
        run: The run folder.
        slides: Folder of the slides that may be chosen; None for none.
        composition: What ``histokeras composition -o`` was given; None for none.
        predictions: Folder of ``histokeras predict``, for slides that are not in the run.
        weights: Path of the weights file, if the run used one.
        trust: SHA-256 of a whole model whose weights may be taken.
        mpp: Of a run on ready-made tiles that does not know it: their micrometres per pixel.
        default_mpp: For slides that do not tell, in micrometres per pixel.
    """

    run: Path
    slides: Path | None = None
    composition: Path | None = None
    predictions: Path | None = None
    weights: str | None = None
    trust: str | None = None
    mpp: float | None = None
    default_mpp: float | None = None


_PATHS = ("run", "slides", "composition", "predictions")


def to_argument(settings: Settings) -> str:
    """Return the settings as one argument of a command line; paths are made absolute."""
    content: dict[str, Any] = asdict(settings)
    for name in _PATHS:
        content[name] = content[name] and str(content[name].resolve())
    # A backbone's file; other words, such as "bundled", name no file.
    if settings.weights is not None and Path(settings.weights).exists():
        content["weights"] = str(Path(settings.weights).resolve())
    return json.dumps(content)


def from_arguments(arguments: Sequence[str]) -> Settings:
    """Return the settings that the page's process was started with.

    Args:
        arguments: Of that process, without its name.

    Raises:
        ConfigError: If it was not started by ``histokeras app``.
    """
    try:
        content = json.loads(arguments[0])
        known = {item.name: content[item.name] for item in fields(Settings)}
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "this page was not started by `histokeras app`.", hint="Give `histokeras app RUN`."
        ) from error
    for name in _PATHS:
        known[name] = known[name] and Path(known[name])
    return Settings(**known)
