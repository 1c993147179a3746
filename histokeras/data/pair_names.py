"""Find which mask belongs to which image, by their names."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from histokeras.data.mask_files import MASK_SUFFIXES, MASK_WORDS
from histokeras.errors import SlideError, TableError
from histokeras.files import original_name
from histokeras.slides.checks import SLIDE_SUFFIXES, slide_id_of

_IMAGE_SUFFIXES = SLIDE_SUFFIXES | {".btf", ".bmp", ".webp"}
_IMAGE_WORDS = ("image", "img")
_MARKS = "_-. "
_SHOWN = 3


@dataclass(frozen=True)
class Matched:
    """Which files belong together.

    Attributes:
        pairs: image_id -> (image, mask), sorted by image_id.
        without_mask: Images that have none.
        without_image: Masks that have none.
    """

    pairs: Mapping[str, tuple[Path, Path]]
    without_mask: tuple[Path, ...]
    without_image: tuple[Path, ...]


def match_names(images: Path, masks: Path) -> Matched:
    """Match the files of two folders, which may be one.

    A mask has the name of its image, or that with a word at its end or beginning (``a_mask.png``,
    ``a-labels.tif``, ``mask_a.png`` beside ``image_a.png``); or it is called by such a word alone
    and lies in a folder named after the image (``a/mask.png``). Names that we wrote count as what
    they stand for: ``M%C3%BCller.geojson`` belongs to ``Müller.svs``.

    Args:
        images: Folder of pictures or slides, searched to the bottom.
        masks: Folder of masks, likewise; in one with the images, a mask bears such a word or is a
            file of drawn regions.

    Raises:
        SlideError: PAIRS_MISSING if a folder is none, or not a single mask fits an image.
        TableError: MASKS_SEVERAL if two masks fit one image; DUPLICATE_IMAGE if two images have one
            name.
    """
    for folder in (images, masks):
        if not folder.is_dir():
            raise SlideError(
                f"`{folder}` is no folder.", code="PAIRS_MISSING", hint="Check the path."
            )
    shared = images.resolve() == masks.resolve()
    found = _images(images, masks, shared=shared)
    taken = {path.resolve() for path in found.values()}
    candidates = [path for path in _files(masks, MASK_SUFFIXES) if path.resolve() not in taken]
    keys = {key: name for name in found for key in (_bare(name, _IMAGE_WORDS), name)}
    of_image: dict[str, Path] = {}
    alone = []
    for path in candidates:
        name = _image_of(path, found, keys)
        if name is None:
            alone.append(path)
        elif of_image.setdefault(name, path) != path:
            raise _several(name, of_image[name], path, masks)
    # What else lies in an image's own folder is no mask that lost its image.
    alone = [path for path in alone if path.parent.name not in of_image]
    if not of_image:
        raise _no_pair(images, masks, list(found), candidates)
    return Matched(
        {name: (found[name], of_image[name]) for name in sorted(of_image)},
        tuple(path for name, path in found.items() if name not in of_image),
        tuple(alone),
    )


def _files(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            yield path


def _name(path: Path) -> str:
    # macOS writes an accent as a sign of its own.
    return unicodedata.normalize("NFC", slide_id_of(path))


def _images(images: Path, masks: Path, *, shared: bool) -> dict[str, Path]:
    inside, apart = masks.resolve(), not images.resolve().is_relative_to(masks.resolve())
    found: dict[str, Path] = {}
    for path in _files(images, _IMAGE_SUFFIXES):
        if shared and _is_mask_name(path):
            continue
        if apart and path.resolve().is_relative_to(inside):
            continue
        other = found.setdefault(_name(path), path)
        if other != path:
            raise TableError(
                f"two images are called `{_name(path)}`: {other} and {path}.",
                code="DUPLICATE_IMAGE",
                hint="Rename one, or name image and mask in a --pairs table with slide_id.",
            )
    if not found:
        raise SlideError(
            f"folder `{images}` holds no image ({' '.join(sorted(_IMAGE_SUFFIXES))}).",
            code="PAIRS_MISSING",
            hint="Check the path.",
        )
    return found


def _is_mask_name(path: Path) -> bool:
    return _bare(_name(path), MASK_WORDS) != _name(path) or _name(path).casefold() in MASK_WORDS


def _bare(name: str, words: Sequence[str]) -> str:
    """Return a name without such a word at its end or beginning."""
    folded = name.casefold()
    for word in words:
        if folded.endswith(word) and len(name) > len(word) + 1 and name[-len(word) - 1] in _MARKS:
            return name[: -len(word) - 1]
        if folded.startswith(word) and len(name) > len(word) + 1 and name[len(word)] in _MARKS:
            return name[len(word) + 1 :]
    return name


def _image_of(path: Path, found: Mapping[str, Path], keys: Mapping[str, str]) -> str | None:
    name = _name(path)
    if name in found:
        return name
    if name.casefold() in MASK_WORDS:
        folder = unicodedata.normalize("NFC", path.parent.name)
        return folder if folder in found else None
    for called in (name, original_name(name)):
        if called in found:
            return called
        if (image := keys.get(_bare(called, MASK_WORDS))) is not None:
            return image
    return None


def _several(name: str, first: Path, second: Path, masks: Path) -> TableError:
    shown = " and ".join(path.relative_to(masks).as_posix() for path in (first, second))
    return TableError(
        f"image `{name}` has two masks: {shown}.",
        code="MASKS_SEVERAL",
        hint="Move one away, or say which belongs to it in a --pairs table (image, mask).",
    )


def _no_pair(
    images: Path, masks: Path, names: Sequence[str], candidates: Sequence[Path]
) -> SlideError:
    shown = ", ".join(f"`{name}`" for name in names[:_SHOWN])
    others = ", ".join(f"`{path.name}`" for path in candidates[:_SHOWN]) or "no mask"
    return SlideError(
        f"no mask in `{masks}` belongs to an image in `{images}`: the images are called {shown}; "
        f"there is {others}.",
        code="PAIRS_MISSING",
        hint="Give masks their image's name (with _mask or the like), or a --pairs table.",
    )
