import pytest

from histokeras.errors import ConfigError
from histokeras.runs.shard import Shard, Share, parse_shard, unshared_array


def slurm(task: int, first: int, last: int, step: int, count: int) -> dict[str, str]:
    values = {"ID": task, "MIN": first, "MAX": last, "STEP": step, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_slides_are_dealt_in_turn_by_sorted_id() -> None:
    whole = ["d", "b", "a", "e", "c"]

    own = [Share(whole, Shard(index, 3)).own for index in range(3)]

    assert own == [{"a", "d"}, {"b", "e"}, {"c"}]
    assert Share(whole).own == set(whole)
    assert Share(["a"], Shard(1, 2)).own == frozenset()


def test_the_digest_is_of_the_list_not_of_its_order() -> None:
    assert Share(["b", "a"], Shard(0, 2)).digest == Share(["a", "b"], Shard(1, 2)).digest
    assert Share(["a", "b"]).digest != Share(["a", "c"]).digest
    assert Share(["a,b"]).digest != Share(["a", "b"]).digest


def test_shards_are_counted_from_0() -> None:
    assert parse_shard("0/3") == Shard(0, 3)
    assert parse_shard(" 2/3 ") == Shard(2, 3)
    assert str(parse_shard("02/3")) == "2/3"


@pytest.mark.parametrize("text", ["3/3", "1/0", "0/0", "1", "-1/3", "1/3/5", "a/b", "", "0.5/2"])
def test_what_is_no_shard_is_told_the_form(text: str) -> None:
    with pytest.raises(ConfigError, match=r"i/n.*counted from 0.*0/3.*Received") as caught:
        parse_shard(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (slurm(0, 0, 7, 1, 8), "0/8"),
        (slurm(8, 1, 8, 1, 8), "7/8"),
        (slurm(5, 1, 7, 2, 4), "2/4"),
        (slurm(3, 3, 3, 0, 1), "0/1"),
    ],
)
def test_an_array_gives_its_tasks_their_shards(array: dict[str, str], wanted: str) -> None:
    assert str(parse_shard("slurm", array)) == wanted


@pytest.mark.parametrize(
    "array",
    [slurm(3, 3, 7, 1, 2), slurm(3, 0, 6, 2, 4), slurm(9, 0, 7, 1, 8)],
    ids=["two of eight", "between two steps", "outside"],
)
def test_an_array_with_gaps_is_refused(array: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"evenly spaced numbers.*Give the whole array again"):
        parse_shard("SLURM", array)


def test_slurm_outside_an_array_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"SLURM_ARRAY_TASK_ID is not set.*sbatch --array"):
        parse_shard("slurm", {"SLURM_JOB_ID": "7"})
    with pytest.raises(ConfigError, match="TASK_MAX is 'x'"):
        parse_shard("slurm", {**slurm(0, 0, 7, 1, 8), "SLURM_ARRAY_TASK_MAX": "x"})


def test_an_array_without_a_shard_is_warned_of() -> None:
    assert "task 2 of a SLURM array of 8" in unshared_array(slurm(2, 0, 7, 1, 8))
    assert "--shard slurm" in unshared_array(slurm(2, 0, 7, 1, 8))
    assert unshared_array(slurm(3, 3, 3, 0, 1)) == ""
    assert unshared_array({}) == ""
