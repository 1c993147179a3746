"""Groups of classes: one class against the rest, or several classes as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from histokeras.errors import ConfigError, TableError
from histokeras.tables import nearest_name
from histokeras.tissue import tissue_of

REST = "rest"
"""What the other classes are called beside a class that stands alone."""
EVERY_OTHER = "*"
LEFT_OUT = "is in no group"
_SHAPE = 'Write one class, such as TUM, or groups: "tumour=TUM;stroma=STR,MUS"; `*` is the rest.'


@dataclass(frozen=True)
class Grouping:
    """Which classes of a label table count as one.

    Attributes:
        members: Group -> its classes; ``*`` stands for all that no group names.
        positive: Of two groups the positive one; None if neither is.
        others_stay: Whether a class in no group stays as it is, and is not left out.
    """

    members: Mapping[str, tuple[str, ...]]
    positive: str | None = None
    others_stay: bool = False

    def __str__(self) -> str:
        """Return what gives this grouping again."""
        return ";".join(f"{name}={','.join(classes)}" for name, classes in self.members.items())

    def group_of(self, label: str) -> str | None:
        """Return the group of a class; None if it is in none.

        Classes are compared as tissues are: NORM is NOR, in any case; others as they are written.
        A group's own name stands for the group, so that a table may hold groups already.
        """
        for name, classes in self.members.items():
            if any(_same(label, known) for known in classes):
                return name
        if label in self.members:
            return label
        rest = next((n for n, classes in self.members.items() if EVERY_OTHER in classes), None)
        return label if rest is None and self.others_stay else rest

    def require_known(self, labels: Sequence[str], column: str) -> None:
        """Check that every class that a group names is there.

        Args:
            labels: The classes of the table.
            column: Their column, for the message.

        Raises:
            TableError: If one is not; the message names those that are.
        """
        named = [name for classes in self.members.values() for name in classes]
        for name in named:
            if name == EVERY_OTHER or any(_same(name, label) for label in labels):
                continue
            near = nearest_name(name, labels)
            raise TableError(
                f"`--group` names the class {name!r}, and column `{column}` holds none such; it "
                f"holds {', '.join(sorted(labels)) or 'no label at all'}.",
                code="CLASS_UNKNOWN",
                hint=f"Did you mean {near!r}?" if near else "Name classes that are there.",
            )


def parse_grouping(text: str) -> Grouping:
    """Read what ``--group`` was given.

    Args:
        text: A class, which then stands against all others, called ``rest``, and is the positive
            one; or groups as ``name=CLASS,CLASS;name=CLASS``, at most one of them ``name=*`` for
            every other class. Classes in no group are left out. Of two groups, one of them ``*``,
            the other is the positive one.

    Raises:
        ConfigError: If it is neither.
    """
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if len(parts) == 1 and "=" not in parts[0]:
        alone = parts[0]
        if "," in alone or alone in (EVERY_OTHER, REST):
            raise _refused(text, "several classes need a name" if "," in alone else "is no class")
        return Grouping({alone: (alone,), REST: (EVERY_OTHER,)}, alone)
    members: dict[str, tuple[str, ...]] = {}
    for part in parts:
        name, _, listed = (word.strip() for word in part.partition("="))
        classes = tuple(word.strip() for word in listed.split(",") if word.strip())
        if not name or not classes:
            raise _refused(text, f"{part!r} is no group")
        if name in members:
            raise _refused(text, f"the group {name!r} stands there twice")
        members[name] = classes
    if len(members) < 2:
        raise _refused(text, "one group has nothing to be told from; `;rest=*` adds the others")
    _require_once(members, text)
    rest = [name for name, classes in members.items() if EVERY_OTHER in classes]
    named = [name for name in members if name not in rest]
    return Grouping(members, named[0] if rest and len(named) == 1 else None)


def as_named(classes: Sequence[str]) -> Grouping:
    """Return what gives tissues the names that a run knows them by: NORM is its NOR.

    Args:
        classes: Of the run.
    """
    return Grouping({name: (name,) for name in classes}, others_stay=True)


def _require_once(members: Mapping[str, tuple[str, ...]], text: str) -> None:
    seen: list[str] = []
    for classes in members.values():
        if EVERY_OTHER in classes and len(classes) > 1:
            raise _refused(text, "`*` is the rest and stands alone in its group")
        for name in classes:
            if any(_same(name, other) for other in seen):
                raise _refused(text, f"the class {name!r} is in two groups")
            seen.append(name)


def _same(a: str, b: str) -> bool:
    return a == b or (tissue_of(a) is not None and tissue_of(a) == tissue_of(b))


def _refused(text: str, why: str) -> ConfigError:
    return ConfigError(f"`--group`: {why}. Received: {text!r}", hint=_SHAPE)
