import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from histokeras.features.store import read_provenance
from histokeras.slides.synthetic import write_slide

Call = Callable[..., Result]
WITH = ("--backbone", "stain-texture", "--tile-px", "96", "--workers", 1)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four slides, one of them glass, and a file that is none."""
    folder = tmp_path_factory.mktemp("shards") / "slides"
    folder.mkdir()
    for number in range(4):
        path = folder / f"s{number}.tiff"
        share = 0.0 if number == 2 else 0.6
        write_slide(path, seed=number, size_px=(256, 256), tissue_share=share, downsamples=())
    (folder / "bad.svs").write_bytes(b"")
    return folder


def rows(folder: Path) -> tuple[list[dict[str, object]], list[list[str]]]:
    """Return the rows of run.json and of failures.csv; skipped counts as done."""
    listed = json.loads((folder / "run.json").read_text())["slides"]
    failures = pd.read_csv(folder / "failures.csv", dtype=str, keep_default_na=False)
    for row in listed:
        row["outcome"] = row["outcome"].replace("skipped", "done")
    return listed, failures.to_numpy().tolist()


def test_shards_of_an_extraction_give_what_one_run_gives(
    slides: Path, histokeras: Call, tmp_path: Path
) -> None:
    whole = histokeras("extract-features", slides, "-o", tmp_path / "one", *WITH)
    assert whole.exit_code == 4, whole.output
    out = tmp_path / "shards"
    codes = []
    for shard in ("2/3", "0/3", "1/3", "0/3"):
        done = histokeras("extract-features", slides, "-o", out, *WITH, "--shard", shard)
        codes.append(done.exit_code)
        n = {"0/3": 2, "1/3": 2, "2/3": 1}[shard]
        assert f"shard {shard}: {n} of 5 slide(s)" in done.stderr

    assert codes == [0, 4, 0, 4]  # sorted: bad s0 s1 s2 s3, so bad and glass are of 0/3
    assert rows(out) == rows(tmp_path / "one")
    assert len(rows(out)[0]) == 5
    assert [row[0] for row in rows(out)[1]] == ["bad", "s2"]
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "done with failures"
    assert "shard" not in record["config"]
    assert "--shard" not in record["command_line"]
    names = [sorted(p.name for p in (f / "features").iterdir()) for f in (out, tmp_path / "one")]
    assert names[0] == names[1] == ["s0.h5", "s1.h5", "s3.h5"]
    for name in names[0]:
        found, wanted = (read_provenance(f / "features" / name) for f in (out, tmp_path / "one"))
        assert found["arrays_sha256"] == wanted["arrays_sha256"]
    assert histokeras("verify", out).exit_code == 0

    # More shards than slides: some have none, and that is no error.
    none = histokeras("extract-features", slides, "-o", tmp_path / "n", *WITH, "--shard", "6/7")
    assert none.exit_code == 0
    assert "shard 6/7: 0 of 5 slide(s): nothing to do" in none.stderr
    assert (tmp_path / "n/run.json").is_file()
    assert histokeras("extract-features", slides, "-o", out, *WITH, "--mpp", 1).exit_code == 3


def test_shards_of_tile_give_what_one_run_gives(
    slides: Path, histokeras: Call, tmp_path: Path
) -> None:
    cut = ("--tile-px", "96", "--workers", 1)
    # Hints name the folder.
    one, out = tmp_path / "one" / "tiled", tmp_path / "shards" / "tiled"
    assert histokeras("tile", slides, "-o", one, *cut).exit_code == 4
    array = {"MIN": "1", "MAX": "3", "STEP": "2", "COUNT": "2"}
    for task in ("3", "1"):
        env = {f"SLURM_ARRAY_TASK_{name}": value for name, value in (array | {"ID": task}).items()}
        done = histokeras("tile", slides, "-o", out, *cut, "--shard", "slurm", env=env)
        assert "Warning" not in done.stderr

    assert rows(out) == rows(one)
    for path in (one / "tiles").iterdir():
        assert path.read_bytes() == (out / "tiles" / path.name).read_bytes()
    again = histokeras("tile", slides, "-o", out, *cut, env=env)
    assert "task 1 of a SLURM array of 2 without --shard" in again.stderr


def test_ready_made_tiles_are_shared_by_source(
    slides: Path, histokeras: Call, tmp_path: Path
) -> None:
    cut = histokeras("tile", slides, "-o", tmp_path, "--tile-px", "96", "--save-images")
    assert cut.exit_code == 4
    call = ("extract-features", "--tiles", tmp_path / "images", "-o", tmp_path / "feats")
    call += ("--backbone", "stain-texture", "--dry-run", "--json")

    def planned(*shard: str) -> list[str]:
        done = histokeras(*call, *shard)
        assert done.exit_code == 0, done.output
        return [row["slide"] for row in json.loads(done.stdout)["rows"]]

    whole = planned()
    parts = [planned("--shard", f"{i}/2") for i in range(2)]
    assert len(whole) == 3
    assert [len(part) for part in parts] == [2, 1]
    assert sorted(parts[0] + parts[1]) == whole


def test_a_shard_that_is_none_is_one_line(slides: Path, histokeras: Call, tmp_path: Path) -> None:
    for command in ("tile", "extract-features"):
        done = histokeras(command, slides, "-o", tmp_path / "out", "--shard", "3/3")
        assert done.exit_code == 2
        assert done.stderr.startswith("Error: a shard is i/n")
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
