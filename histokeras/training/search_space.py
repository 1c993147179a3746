"""What a search may choose: dimensions with their ranges, narrowed as the user asks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from histokeras.config import nearest
from histokeras.errors import ConfigError

Params = Mapping[str, Any]
"""Name of a dimension -> what was chosen; those that do not apply are absent."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One thing that a search chooses.

    Attributes:
        name: As the command that uses it calls its option.
        default: What the first trial takes; lies within.
        about: Unit and meaning, a few words.
        low: Least number of a range that is searched by its logarithm, above 0; None for a choice.
        high: Its greatest.
        values: What a choice is among, all of one type; empty for a range.
        only: Another dimension and its values for which this one applies; None for always.
    """

    name: str
    default: Any
    about: str
    low: float | None = None
    high: float | None = None
    values: tuple[Any, ...] = ()
    only: tuple[str, tuple[Any, ...]] | None = None

    def applies(self, params: Params) -> bool:
        """Tell whether it applies beside what was chosen before it."""
        return self.only is None or params.get(self.only[0]) in self.only[1]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, without what is not set."""
        return {key: value for key, value in asdict(self).items() if value not in (None, ())}

    def shown(self) -> str:
        """Return what may be chosen, as the user would type it."""
        if self.values:
            return ",".join(map(str, self.values))
        return f"{self.low:g}..{self.high:g}"

    def among(self, values: Sequence[Any]) -> "Dimension":
        """Return it as a choice among values; the default stays if it is one of them."""
        default = self.default if self.default in values else values[0]
        return replace(self, values=tuple(values), low=None, high=None, default=default)


Space = tuple[Dimension, ...]


def defaults(space: Space) -> dict[str, Any]:
    """Return the defaults of the dimensions that apply."""
    params: dict[str, Any] = {}
    for dimension in space:
        if dimension.applies(params):
            params[dimension.name] = dimension.default
    return params


def narrowed(space: Space, settings: Iterable[str], fixed: Iterable[str]) -> Space:
    """Return a space with some dimensions narrowed or fixed.

    Args:
        space: The space.
        settings: ``NAME=LOW..HIGH`` of a range, ``NAME=A,B`` of any dimension.
        fixed: ``NAME=VALUE``.

    Raises:
        ConfigError: If a name or value is unknown, out of range, or given twice.
    """
    asked: dict[str, Dimension] = {}
    known = {dimension.name: dimension for dimension in space}
    for option, texts in (("--set", settings), ("--fix", fixed)):
        for text in texts:
            name, equals, content = text.partition("=")
            name = name.strip().replace("_", "-")
            if not equals or name not in known:
                raise ConfigError(
                    f"`{option}` takes NAME=... of the search space. Received: {text!r}",
                    hint=nearest(name, known),
                )
            if name in asked:
                raise ConfigError(f"`{name}` is given twice by `--set` and `--fix`.")
            if option == "--fix" and ("," in content or ".." in content):
                raise ConfigError(f"`--fix` takes one value; `--set` several. Received: {text!r}")
            asked[name] = _narrowed(known[name], content, f"`{option} {text}`")
    found = tuple(asked.get(dimension.name, dimension) for dimension in space)
    for name in asked:
        if not _reachable(asked[name], found):
            raise ConfigError(
                f"`{name}` applies to {asked[name].only[0]} "  # type: ignore[index]
                f"{', '.join(map(str, asked[name].only[1]))} alone, "  # type: ignore[index]
                "which is not searched.",
            )
    return tuple(dimension for dimension in found if _reachable(dimension, found))


def _reachable(dimension: Dimension, space: Space) -> bool:
    """Tell whether a dimension can apply at all."""
    if dimension.only is None:
        return True
    name, values = dimension.only
    return any(other.name == name and set(other.values) & set(values) for other in space)


def _narrowed(dimension: Dimension, content: str, where: str) -> Dimension:
    low_text, dots, high_text = content.partition("..")
    if not dots:
        values = [_value(dimension, word.strip(), where) for word in content.split(",")]
        if len(set(values)) < len(values):
            raise ConfigError(f"{where} names a value twice.")
        return dimension.among(values)
    if dimension.values:
        raise ConfigError(f"{where}: `{dimension.name}` is a choice among {dimension.shown()}.")
    low, high = _value(dimension, low_text, where), _value(dimension, high_text, where)
    if not low < high:
        raise ConfigError(f"{where}: the first number must be below the second.")
    # The default outside of it gives way to the end that is nearer to it.
    return replace(dimension, low=low, high=high, default=min(max(dimension.default, low), high))


def _value(dimension: Dimension, word: str, where: str) -> Any:
    if not dimension.values or not isinstance(dimension.values[0], str):
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            raise ConfigError(f"{where}: {word!r} is no number above 0.")
        if not dimension.values:
            return number
        # A number of tiles may be any, not only those that are tried by themselves.
        if number != int(number):
            raise ConfigError(f"{where}: {word!r} is no whole number.")
        return int(number)
    if word not in dimension.values:
        raise ConfigError(
            f"{where}: `{dimension.name}` is a choice among {dimension.shown()}.",
            hint=nearest(word, dimension.values),
        )
    return word
