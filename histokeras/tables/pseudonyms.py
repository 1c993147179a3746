"""What slides and patients are called in outputs: one pseudonym for each id."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from histokeras.errors import TableError

_WORD = re.compile(r"[^\W_]+")
_SHOWN = 5


@dataclass(frozen=True)
class Pseudonyms:
    """The table of pseudonyms. It is handed to worker processes.

    Attributes:
        ids: Id of a slide or patient (Unicode NFC) -> its pseudonym.
        name: The table's file name, for messages.
    """

    ids: Mapping[str, str]
    name: str = "table"

    @cached_property
    def given(self) -> frozenset[str]:
        """All pseudonyms."""
        return frozenset(self.ids.values())

    def find(self, name: str) -> str | None:
        """Return the pseudonym of an id; a pseudonym is its own, None for what is neither."""
        plain = unicodedata.normalize("NFC", name)
        found = self.ids.get(plain)
        return found or (plain if plain in self.given else None)

    def of(self, name: str, kind: str = "slide") -> str:
        """Return the pseudonym of an id; a pseudonym stays what it is.

        Args:
            name: An id.
            kind: slide or patient, for the message.

        Raises:
            TableError: PSEUDONYM_MISSING if it has none.
        """
        return self.find(name) or self.refuse([name], kind, 1)

    def require(self, names: Iterable[str], kind: str) -> None:
        """Check that all ids have a pseudonym.

        Args:
            names: Ids.
            kind: slide or patient, for the message.

        Raises:
            TableError: PSEUDONYM_MISSING with the first of those that have none, and their number.
        """
        wanted = list(dict.fromkeys(names))
        missing = [name for name in wanted if self.find(name) is None]
        if missing:
            self.refuse(missing, kind, len(wanted))

    def refuse(self, missing: Sequence[str], kind: str, n: int) -> NoReturn:
        """Say which ids have no pseudonym.

        Args:
            missing: These.
            kind: slide or patient.
            n: How many there are in all.

        Raises:
            TableError: PSEUDONYM_MISSING.
        """
        shown = ", ".join(f"`{name}`" for name in missing[:_SHOWN])
        raise TableError(
            f"{len(missing)} of {n} {kind}(s) have no pseudonym in {self.name}: {shown}"
            f"{', ...' if len(missing) > _SHOWN else ''}.",
            code="PSEUDONYM_MISSING",
            hint=f"Add a row for each {kind}"
            + (": the file's name without the extension." if kind == "slide" else "."),
        )

    @cached_property
    def _words(self) -> tuple[dict[str, str], int]:
        """Return the ids from their first letter or digit to their last, and how long they are."""
        words: dict[str, str] = {}
        longest = 0
        for name, pseudonym in self.ids.items():
            found = list(_WORD.finditer(name))
            if found:
                words[name[found[0].start() : found[-1].end()]] = pseudonym
                longest = max(longest, len(found))
        return words, longest

    def masked(self, text: str) -> str:
        """Return a text, such as a tile's path, with a pseudonym for each id that stands in it.

        An id counts where it begins and ends with a word: ``A1`` in ``b/A1_20.png``, not in
        ``A12.png``. Of ids that overlap the longest counts.
        """
        text = unicodedata.normalize("NFC", text)
        words, longest = self._words
        found = list(_WORD.finditer(text))
        parts, end, i = [], 0, 0
        while i < len(found):
            start, step = found[i].start(), 1
            for last in range(min(i + longest, len(found)) - 1, i - 1, -1):
                pseudonym = words.get(text[start : found[last].end()])
                if pseudonym is not None:
                    parts += [text[end:start], pseudonym]
                    end, step = found[last].end(), last - i + 1
                    break
            i += step
        return "".join([*parts, text[end:]])
