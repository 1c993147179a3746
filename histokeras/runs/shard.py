"""Which slides of a command's list are this process's own: ``--shard i/n`` and SLURM arrays."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from histokeras.errors import ConfigError
from histokeras.files import canonical_json, sha256_text

SLURM = "slurm"
"""What ``--shard`` says to take the array's own numbers."""

_FORM = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)
_ARRAY = "SLURM_ARRAY_TASK_"


@dataclass(frozen=True)
class Shard:
    """One of several processes that share a list of slides.

    Attributes:
        index: Its number, from 0 to ``count - 1``.
        count: How many there are, at least 1.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(
                f"a shard is i/n with i from 0 to n - 1 (counted from 0: the shards of 3 are 0/3, "
                f"1/3 and 2/3). Received: {self}"
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class Share:
    """The list of slides of a command, and the part that this process takes.

    Attributes:
        whole: slide_ids of all slides that are wanted, each once.
        shard: Which part is taken; None for all of it.
    """

    whole: Sequence[str] = ()
    shard: Shard | None = None

    @cached_property
    def own(self) -> frozenset[str]:
        """The slides that this process takes: every n-th of the sorted list."""
        if self.shard is None:
            return frozenset(self.whole)
        return frozenset(sorted(self.whole)[self.shard.index :: self.shard.count])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole sorted list: shards that saw different lists differ in it."""
        return sha256_text(canonical_json(sorted(self.whole)))


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """Read what ``--shard`` was given.

    Args:
        text: ``i/n``, counted from 0, or ``slurm`` for the numbers of this task of an array.
        environment: Where SLURM tells these numbers.

    Raises:
        ConfigError: If it is neither, i is not below n, or the array's numbers cannot be shared
            out (outside an array, or not evenly spaced).
    """
    wanted = text.strip()
    if wanted.lower() == SLURM:
        return _slurm_shard(environment)
    found = _FORM.fullmatch(wanted)
    if found is None:
        raise ConfigError(
            "`--shard` is i/n, counted from 0 (the shards of 3 are 0/3, 1/3 and 2/3), or slurm "
            f"inside a SLURM array. Received: {text!r}"
        )
    return Shard(int(found[1]), int(found[2]))


def unshared_array(environment: Mapping[str, str] = os.environ) -> str:
    """Return a warning if this is one task of an array; "" if not.

    Args:
        environment: Where SLURM tells its numbers.
    """
    count = environment.get(f"{_ARRAY}COUNT", "")
    if not count.isdecimal() or int(count) < 2:
        return ""
    task = environment.get(f"{_ARRAY}ID", "?")
    return (
        f"task {task} of a SLURM array of {count} without --shard: each of them takes all slides "
        "it is given; add `--shard slurm` to share one list out"
    )


def _slurm_shard(environment: Mapping[str, str]) -> Shard:
    """Return the place of this task in its array."""
    task, first, last, count = (
        _slurm_number(environment, name) for name in ("ID", "MIN", "MAX", "COUNT")
    )
    # An array of one task has no step worth the name: SLURM may say 0.
    step = max(1, _slurm_number(environment, "STEP")) if count > 1 else 1
    even = last - first == step * (count - 1) and (task - first) % step == 0
    if not even or not first <= task <= last:
        raise ConfigError(
            f"`--shard slurm` needs an array of evenly spaced numbers, such as 0-7 or 1-15:2. "
            f"Received: task {task} of {count} from {first} to {last} in steps of {step}.",
            hint="Give the whole array again (what is done is skipped), or these tasks alone "
            "with --shard i/n, n being the size of the whole array.",
        )
    return Shard((task - first) // step, count)


def _slurm_number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(_ARRAY + name, "")
    if not text.isdecimal():
        raise ConfigError(
            f"`--shard slurm` is for the tasks of a SLURM array: {_ARRAY}{name} is "
            f"{repr(text) if text else 'not set'}.",
            hint="Submit with `sbatch --array=0-7 ...`, or give --shard i/n.",
        )
    return int(text)
