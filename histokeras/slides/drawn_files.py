"""Which file of drawn regions belongs to which slide, by their names."""

import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from histokeras.errors import SlideError, TableError
from histokeras.files import original_name
from histokeras.slides.checks import slide_id_of

SUFFIXES = frozenset({".geojson", ".json", ".xml"})
NODE_WORDS, TUMOUR_WORDS = ("nodes", "node"), ("tumour", "tumor")
_WORDS = ("annotations", "annotation", *NODE_WORDS, *TUMOUR_WORDS, "regions", "rois")
_MARKS = "_-. "
_SHOWN = 3


@dataclass(frozen=True)
class DrawnFiles:
    """A folder of drawn regions, searched to the bottom once.

    Attributes:
        folder: The folder.
        found: What a slide may be called -> its files.
    """

    folder: Path
    found: Mapping[str, Sequence[Path]]

    @classmethod
    def of(cls, folder: Path) -> Self:
        """List a folder of GeoJSON, JSON and XML.

        A file is called as its slide, with one of a few words behind it or not
        (``S1_annotations.geojson``), or by such a word alone in a folder that is called as the
        slide (``S1/nodes.geojson``).

        Raises:
            SlideError: ANNOTATION_MISSING if there is none.
        """
        found: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
                for name in dict.fromkeys(_names(path)):
                    found.setdefault(name, []).append(path)
        if not found:
            raise SlideError(
                f"`{folder}` holds no drawn regions ({', '.join(sorted(SUFFIXES))}).",
                code="ANNOTATION_MISSING",
                hint="Check the path; QuPath exports GeoJSON by File, Export objects.",
            )
        return cls(folder, found)

    def find(
        self,
        slide: Path,
        slide_id: str,
        words: Sequence[str] = (),
        *,
        others: Collection[str] = (),
    ) -> Path | None:
        """Return the file of a slide; None if it has none.

        Args:
            slide: The slide's own file: that in a folder of the same name as the slide's own folder
                (its patient) is preferred to others of its name.
            slide_id: What outputs call it. Where that is more than its own name, another slide has
                this name too: then only a file in the folder of its patient goes by it.
            words: Of several files those are preferred that have one of these words in their name,
                such as ``S1_nodes.geojson`` beside ``S1_tumour.geojson``; one that is named for the
                other is none.
            others: Names of all patients: what lies in the folder of another one is not his.

        Raises:
            TableError: MASKS_SEVERAL if several fit.
        """
        own, parent = _plain(slide_id_of(slide)), _plain(slide.parent.name)
        patients = {parent, *map(_plain, others)}
        for name in dict.fromkeys((own, _plain(slide_id))):
            paths = [
                path
                for path in self.found.get(name, ())
                if next(filter(patients.__contains__, self._folders(path)), parent) == parent
                and not _of_other(path, name, words)
            ]
            near = [path for path in paths if parent in self._folders(path)]
            paths = near if near or name != _plain(slide_id) else paths
            paths = [path for path in paths if _ends_with(path, words)] or paths
            if len(paths) > 1:
                raise self._several(slide_id, paths)
            if paths:
                return paths[0]
        return None

    def _folders(self, path: Path) -> list[str]:
        """Return the names of the folders around a file, its own first, up to this folder."""
        inside = path.relative_to(self.folder).parts[:-1]
        return [_plain(name) for name in (*inside[::-1], self.folder.resolve().name)]

    def _several(self, slide_id: str, paths: Sequence[Path]) -> TableError:
        shown = " and ".join(path.relative_to(self.folder).as_posix() for path in paths[:_SHOWN])
        return TableError(
            f"slide `{slide_id}` has several files of drawn regions: {shown}.",
            code="MASKS_SEVERAL",
            hint="Move all but one away.",
        )


def _ends_with(path: Path, words: Sequence[str]) -> bool:
    return slide_id_of(path).casefold().endswith(tuple(words))


def _of_other(path: Path, slide: str, words: Sequence[str]) -> bool:
    """Tell whether a file is named for tumour where nodes are sought, or the other way round."""
    either = (NODE_WORDS, TUMOUR_WORDS)
    others = [word for some in either if tuple(words) in either for word in some if some != words]
    return _plain(slide_id_of(path)) != slide and _ends_with(path, others)


def _plain(name: str) -> str:
    # macOS writes an accent as a sign of its own.
    return unicodedata.normalize("NFC", name)


def _names(path: Path) -> Iterator[str]:
    name = _plain(slide_id_of(path))
    if name.casefold() in _WORDS:
        yield _plain(original_name(path.parent.name))
        return
    for called in (name, original_name(name)):
        yield called
        for word in _WORDS:
            if called.casefold().endswith(word) and called[-len(word) - 1 : -len(word)] in _MARKS:
                yield called[: -len(word) - 1]
