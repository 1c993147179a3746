"""Which class is the lymph node, and which the tumour, among the names that people give them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from histokeras.errors import ConfigError
from histokeras.slides.annotations import Region

NODE, TUMOUR = "Lymph node", "Tumor"
"""How we write them: QuPath knows the second by its colour."""
_NODES = frozenset({"lymphnode", "lymphnodes", "node", "nodes", "ln", "lns"})
_TUMOURS = frozenset(
    {
        *("tumor", "tumour", "tumors", "tumours", "tum", "metastasis", "metastases"),
        *("metastatic", "mets", "met", "cancer", "carcinoma", "adenocarcinoma", "malignant"),
    }
)
# Groups of Camelyon16: _0 and _1 are tumour, _2 was cut out of it again.
_CAMELYON = frozenset({"_0", "_1"})
_ERASING = frozenset({"_2", "exclusion", "exclude", "excluded"})
# What a network calls its positive class where the class has no name of its own.
_YES = frozenset({"1", "yes", "true", "positive", "pos"})
_IGNORED = frozenset({"ignore", "ignore*"})
_MARKS = str.maketrans("", "", " _-.")


def node_class(
    classes: Sequence[str], *, positive: str | None = None, wanted: str | None = None
) -> str:
    """Return which class of a network is the lymph node.

    Args:
        classes: Its classes.
        positive: Its positive class; counts where nothing else is wanted, if it has a usual name,
            or none of its own (1, yes, positive).
        wanted: What ``--node-class`` says.

    Raises:
        ConfigError: If ``wanted`` is none of them, or nothing tells which it is: also where the
            positive class is another one by its name, as that of a network of another task.
    """
    return _of_network(classes, positive, wanted, _NODES, "node")


def tumour_class(
    classes: Sequence[str], *, positive: str | None = None, wanted: str | None = None
) -> str:
    """Return which class of a network is the tumour.

    Args:
        classes: Its classes.
        positive: Its positive class; counts where nothing else is wanted, if it has a usual name,
            or none of its own (1, yes, positive).
        wanted: What ``--tumour-class`` says.

    Raises:
        ConfigError: If ``wanted`` is none of them, or nothing tells which it is: also where the
            positive class is another one by its name, as that of a network of another task.
    """
    return _of_network(classes, positive, wanted, _TUMOURS, "tumour")


def tumour_names(classes: Iterable[str]) -> tuple[str, ...]:
    """Return which of some classes are tumour by their names."""
    return tuple(name for name in classes if _folded(name) in _TUMOURS)


def drawn_node_classes(labels: Iterable[str], *, wanted: str | None = None) -> tuple[str, ...]:
    """Return as which classes lymph nodes were drawn.

    Args:
        labels: The classes in all files of a cohort; "" is what has none.
        wanted: What ``--node-class`` says.

    Returns:
        Those with a usual name (``Lymph node``, ``lymph_node``, ``node``, ``LN``), else the only
        class there is that is no tumour; () where nothing was drawn but tumour, or nothing at all.

    Raises:
        ConfigError: If ``wanted`` was not drawn, or several classes are in question.
    """
    return _drawn(labels, wanted, _is_node, _is_tumour, "node")


def drawn_tumour_classes(labels: Iterable[str], *, wanted: str | None = None) -> tuple[str, ...]:
    """Return as which classes tumour was drawn.

    Args:
        labels: The classes in all files of a cohort; "" is what has none, as in Camelyon's JSON.
        wanted: What ``--tumour-class`` says.

    Returns:
        Those with a usual name (``Tumor``, ``tumour``, ``Metastasis``, Camelyon's ``_0``, ``_1``),
        else the only class there is that is no node; () where nothing was drawn but nodes.

    Raises:
        ConfigError: If ``wanted`` was not drawn, or several classes are in question.
    """
    return _drawn(labels, wanted, _is_tumour, _is_node, "tumour")


def regions_of(regions: Iterable[Region], names: Sequence[str]) -> tuple[Region, ...]:
    """Return the regions of some classes in the order of drawing, what erases last.

    Args:
        regions: All regions of a file.
        names: Classes as they were drawn.
    """
    regions = tuple(regions)
    kept = [region for region in regions if region.erases or region.label in names]
    if any(_is_tumour(name) for name in names):
        cut_out = (one for one in regions if not one.erases and _is_erasing(one.label))
        kept += [replace(one, erases=True) for one in cut_out if one.label not in names]
    return tuple(sorted(kept, key=lambda region: region.erases))


def _folded(name: str) -> str:
    return name.casefold().translate(_MARKS)


def _is_node(name: str) -> bool:
    return _folded(name) in _NODES


def _is_tumour(name: str) -> bool:
    return _folded(name) in _TUMOURS or name in _CAMELYON


def _is_erasing(name: str) -> bool:
    return name.casefold() in _ERASING


def _is_aside(name: str) -> bool:
    return _is_erasing(name) or name.casefold() in _IGNORED


def _same(names: Iterable[str], wanted: str) -> list[str]:
    found = list(names)
    return [wanted] if wanted in found else [n for n in found if _folded(n) == _folded(wanted)]


def _of_network(
    classes: Sequence[str],
    positive: str | None,
    wanted: str | None,
    known: frozenset[str],
    option: str,
) -> str:
    """Choose by what is wanted, else the positive class, else by the words for it."""
    listed = ", ".join(classes)
    if wanted is not None:
        found = _same(classes, wanted)
        if len(found) != 1:
            raise ConfigError(f"`--{option}-class` is none of {listed}. Received: {wanted}")
        return found[0]
    found = [name for name in classes if _folded(name) in known]
    if positive is not None:
        unnamed = not found and _folded(positive) in _YES
        found = [positive] if positive in found or unnamed else []
    if len(found) == 1:
        return found[0]
    told = "" if positive is None else f"; its positive class is {positive}"
    raise ConfigError(
        f"no telling which class of the network is the {option}: it has {listed}{told}.",
        hint=f"Name it with --{option}-class.",
    )


def _drawn(
    labels: Iterable[str],
    wanted: str | None,
    is_known: Callable[[str], bool],
    is_other: Callable[[str], bool],
    option: str,
) -> tuple[str, ...]:
    names = sorted(set(labels))
    shown = ", ".join(name or "(none)" for name in names)
    if wanted is not None:
        found = _same(names, wanted)
        if not found:
            raise ConfigError(
                f"`--{option}-class` names {wanted!r}, which nothing is drawn as; there are "
                f"{shown or 'no regions'}."
            )
        return tuple(found)
    known = tuple(name for name in names if is_known(name))
    if known:
        return known
    left = [name for name in names if not (is_other(name) or _is_aside(name))]
    if len(left) > 1:
        raise ConfigError(
            f"no telling as which class a {option} is drawn: there are {shown}.",
            hint=f"Name it with --{option}-class.",
        )
    return tuple(left)
