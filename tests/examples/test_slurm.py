import os
import subprocess
from pathlib import Path

import click
import pytest

from histokeras.cli.main import main

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm.sh"
# A stand-in that notes its words and ends as it is told.
NOTES = '#!/bin/bash\nprintf "%s\\n" "$(basename "$0")" "$@" --- >> "$NOTES"\n'
ARRAY = {"ID": 5, "MIN": 0, "MAX": 7, "STEP": 1, "COUNT": 8}


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A folder with slides, labels, and programs that only note what they are called with."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "histokeras").write_text(NOTES + 'exit "${CODE:-0}"\n')
    (programs / "sbatch").write_text(NOTES + 'echo "$((100 + $(grep -c -- --- "$NOTES")));east"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    (tmp_path / "slides").mkdir()
    (tmp_path / "study/feats").mkdir(parents=True)
    (tmp_path / "labels.csv").write_text("patient_id,label\n")
    return tmp_path


def call(cluster: Path, *words: str, **environment: str) -> tuple[int, str, list[list[str]]]:
    """Return exit code and output of the script, and what it called."""
    notes = cluster / "notes"
    notes.write_text("")
    env = os.environ | {"NOTES": str(notes), "PATH": f"{cluster}/bin:{os.environ['PATH']}"}
    env |= {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in ARRAY.items()}
    done = subprocess.run(
        ["bash", str(SCRIPT), *words], cwd=cluster, env=env | environment,
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    calls = [part.strip("\n").split("\n") for part in notes.read_text().split("---\n") if part]
    return done.returncode, done.stdout + done.stderr, calls


def parsed(cluster: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return the options as the real command would understand them."""
    monkeypatch.chdir(cluster)
    for name, value in ARRAY.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    assert words[0] == "histokeras"
    command = main.get_command(click.Context(main), words[1])
    assert command is not None
    return command.make_context(words[1], words[2:]).params


def test_the_script_is_bash_and_its_directives_come_first() -> None:
    lines = SCRIPT.read_text().splitlines()

    assert subprocess.run(["bash", "-n", str(SCRIPT)], check=False).returncode == 0
    assert lines[0] == "#!/bin/bash"
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [i for i, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert len(directives) >= 5
    assert max(directives) < first_command  # SLURM reads none below


@pytest.mark.parametrize(("device", "resources"), [("gpu", "--gres=gpu:1"), ("cpu", "task=16")])
def test_it_submits_the_array_and_what_depends_on_it(
    cluster: Path, device: str, resources: str
) -> None:
    code, said, calls = call(cluster, DEVICE=device, TASKS="3")

    assert code == 0
    assert said == "submitted: extract 101 (3 tasks), then train 102\n"
    assert [words[0] for words in calls] == ["sbatch", "sbatch"]
    assert "--array=0-2" in calls[0]
    assert any(resources in word for word in calls[0])
    assert calls[0][-2:] == [str(SCRIPT), "extract"]
    assert "--dependency=afterok:101" in calls[1]
    assert calls[1][-2:] == [str(SCRIPT), "train"]
    assert (cluster / "logs").is_dir()


@pytest.mark.parametrize(("device", "gpus"), [("gpu", "all"), ("cpu", "cpu")])
def test_a_task_extracts_its_shard(
    cluster: Path, monkeypatch: pytest.MonkeyPatch, device: str, gpus: str
) -> None:
    code, _, calls = call(cluster, "extract", DEVICE=device)

    options = parsed(cluster, calls[0], monkeypatch)
    assert code == 0
    assert len(calls) == 1
    assert str(options["shard"]) == "5/8"
    assert options["output"] == Path("study/feats")
    assert options["gpus"] == gpus


def test_single_tasks_are_given_again_with_the_size_of_the_whole(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, calls = call(cluster, "extract", OF="16")

    assert str(parsed(cluster, calls[0], monkeypatch)["shard"]) == "5/16"


@pytest.mark.parametrize(("code", "wanted"), [(4, 0), (6, 6), (143, 143)])
def test_bad_slides_do_not_hold_up_the_rest_but_errors_do(
    cluster: Path, code: int, wanted: int
) -> None:
    assert call(cluster, "extract", CODE=str(code))[0] == wanted


def test_training_comes_after_the_check(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, calls = call(cluster, "train")

    assert code == 0
    assert [words[1] for words in calls] == ["verify", "fit-head"]
    assert parsed(cluster, calls[0], monkeypatch)["folder"] == Path("study/feats")
    assert parsed(cluster, calls[1], monkeypatch)["output"] == Path("study/run")
    code, _, calls = call(cluster, "train", CODE="4")
    assert (code, len(calls)) == (4, 1)
    assert call(cluster, "nonsense")[0] == 2
