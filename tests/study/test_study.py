import json
from pathlib import Path

import pytest

from histokeras.errors import ConfigError
from histokeras.study.config import given_inputs, read_study
from histokeras.study.run import StudyRun, run_study

COMMANDS = ("split", "label-hypoxia", "extract-features", "fit-head", "demo")
TEXT = """
[study]
title = "A study"
runs = ["head"]
[study.inputs]
labels = ""
shares = "70/15/15"
[[study.stages]]
name = "split"
command = "split"
options = { labels = "{labels}", shares = "{shares}", output = "{out}/split.csv" }
[[study.stages]]
command = "extract-features"
arguments = ["slides"]
options = { output = "{out}/features" }
[[study.stages]]
name = "head"
command = "fit-head"
arguments = ["{out}/features"]
options = { split = "{out}/split.csv", output = "{out}/head", patients-unknown = true, cv = 3 }
[split]
seed = 1
"""


class Calls:
    """Stands for the commands: notes what it is called with, and writes what they would."""

    def __init__(self) -> None:
        self.words: list[list[str]] = []
        self.codes: dict[str, int] = {}

    def __call__(self, words: list[str]) -> int:
        self.words.append(words)
        code = self.codes.get(words[0], 0)
        output = Path(words[words.index("--output") + 1])
        if code in (0, 4):
            if words[0] == "split":
                labels = Path(words[words.index("--labels") + 1])
                output.write_text("split of " + labels.read_text())
            else:
                output.mkdir(exist_ok=True)
                if not (output / "metrics.json").exists() or "--overwrite" in words:
                    (output / "metrics.json").write_text(str(len(self.words)))
                (output / "run.json").write_text(str(len(self.words)))
        return code

    def names(self) -> list[str]:
        found = [f"{w[0]} --overwrite" if "--overwrite" in w else w[0] for w in self.words]
        self.words.clear()
        return found


@pytest.fixture
def study(tmp_path: Path) -> tuple[StudyRun, Calls]:
    return made(tmp_path, TEXT)


def made(folder: Path, text: str, **changes: object) -> tuple[StudyRun, Calls]:
    (folder / "study.toml").write_text(text)
    labels = folder / "labels.csv"
    if not labels.exists():
        labels.write_text("labels")
    config = read_study(folder / "study.toml", COMMANDS)
    calls = Calls()
    inputs = given_inputs(config, [f"labels={labels}"])
    return StudyRun(config, folder / "out", inputs, calls, **changes), calls


def test_stages_are_called_in_order_with_their_options(study: tuple[StudyRun, Calls]) -> None:
    plan, calls = study
    out = plan.out

    assert run_study(plan) == 0

    labels, config = out.parent / "labels.csv", out.parent / "study.toml"
    assert calls.words == [
        ["split", "--labels", str(labels), "--shares", "70/15/15", "--output",
         f"{out}/split.csv", "--config", str(config)],
        ["extract-features", "slides", "--output", f"{out}/features"],
        ["fit-head", f"{out}/features", "--split", f"{out}/split.csv", "--output", f"{out}/head",
         "--patients-unknown", "--cv", "3"],
    ]  # fmt: skip
    record = json.loads((out / "study.json").read_text())
    assert [row["name"] for row in record["stages"]] == ["split", "extract-features", "head"]
    assert {row["status"] for row in record["stages"]} == {"done"}


def test_a_second_run_does_nothing(study: tuple[StudyRun, Calls]) -> None:
    plan, calls = study
    run_study(plan)
    calls.names()
    # What is drawn of a run afterwards, and records of commands that found nothing to do.
    (plan.out / "head" / "explain").mkdir()
    (plan.out / "head" / "explain" / "a.png").touch()
    (plan.out / "features" / "run.json").write_text("later")

    assert run_study(plan) == 0

    assert calls.names() == []


def test_what_depends_on_a_change_is_done_anew(study: tuple[StudyRun, Calls]) -> None:
    plan, calls = study
    run_study(plan)
    calls.names()
    (plan.out.parent / "labels.csv").write_text("other labels")

    run_study(plan)

    assert calls.names() == ["split --overwrite", "fit-head --overwrite"]
    (plan.out / "head" / "metrics.json").unlink()
    run_study(plan)
    assert calls.names() == ["fit-head"]


def test_a_table_of_options_decides_too(tmp_path: Path) -> None:
    plan, _ = made(tmp_path, TEXT)
    run_study(plan)

    plan, calls = made(tmp_path, TEXT.replace("seed = 1", "seed = 2"))
    run_study(plan)

    # Its split came out the same, so nothing after it is done again.
    assert calls.names() == ["split --overwrite"]


def test_redo_does_a_stage_anew(tmp_path: Path) -> None:
    plan, _ = made(tmp_path, TEXT)
    run_study(plan)

    plan, calls = made(tmp_path, TEXT, redo=("head",))
    run_study(plan)

    assert calls.names() == ["fit-head --overwrite"]
    plan, _ = made(tmp_path, TEXT, redo=("heads",))
    with pytest.raises(ConfigError, match="no stage 'heads'"):
        run_study(plan)


@pytest.mark.parametrize("code", [3, 130])
def test_a_failed_stage_ends_it_and_is_taken_up_again(
    study: tuple[StudyRun, Calls], code: int
) -> None:
    plan, calls = study
    calls.codes["extract-features"] = code

    assert run_study(plan) == code
    assert calls.names() == ["split", "extract-features"]
    calls.codes.clear()

    assert run_study(plan) == 0
    assert calls.names() == ["extract-features", "fit-head"]


def test_failed_slides_do_not_stop_it_and_are_tried_again(study: tuple[StudyRun, Calls]) -> None:
    plan, calls = study
    calls.codes["extract-features"] = 4

    assert run_study(plan) == 4
    assert calls.names() == ["split", "extract-features", "fit-head"]
    calls.codes.clear()

    assert run_study(plan) == 0
    assert calls.names() == ["extract-features"]


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    plan, calls = made(tmp_path, TEXT)
    plan.out.mkdir()
    (plan.out / "mine.txt").touch()
    with pytest.raises(ConfigError, match="is not empty, and holds no study"):
        run_study(plan)
    (plan.out / "mine.txt").unlink()
    run_study(plan)

    plan, calls = made(tmp_path, TEXT.replace('"A study"', '"Another"'))
    with pytest.raises(ConfigError, match="holds another study: 'A study'"):
        run_study(plan)
    assert not calls.words


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[study.stages]]", "[[study.other]]", "unknown key 'other'"),
        ("{labels}", "{labelz}", r"uses \{labelz\}, which is no input. Did you mean 'labels'"),
        ('command = "fit-head"', 'command = "fit-heads"', "no command 'fit-heads'. Did you mean"),
        ('name = "head"', 'name = "split"', "two stages are called 'split'"),
        ('runs = ["head"]', 'runs = ["tail"]', "`runs` names no stage 'tail'"),
        ('title = "A study"', 'titel = "A study"', "line 3: unknown key 'titel'.*mean 'title'"),
        ('name = "head"', 'name = "My head"', "a stage's name is of a-z"),
    ],
)
def test_what_does_not_exist_is_named_before_any_work(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        made(tmp_path, TEXT.replace(old, new))


def test_inputs_must_be_given_and_known(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(TEXT)
    config = read_study(tmp_path / "study.toml", COMMANDS)

    with pytest.raises(ConfigError, match=r"needs labels. Give --set labels="):
        given_inputs(config, [])
    for text in ("label=x", "labels"):
        with pytest.raises(ConfigError, match=r"`--set` takes NAME=VALUE. Received: 'label"):
            given_inputs(config, [text])
    assert given_inputs(config, ["labels=a=b"]) == {"labels": "a=b", "shares": "70/15/15"}
