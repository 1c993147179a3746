import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from histokeras.cli.main import main


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["clinical", *(str(word) for word in words)])


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    stage = rng.integers(0, 4, 80)
    clinical = pd.DataFrame({
        "Patient": [f"p{i:02d}" for i in range(80)],
        "T staging": [f"T{1 + i}" for i in stage],
        "Sex": rng.choice(["Male", "Female"], 80),
        "Type": ["<script>alert(1)</script>"] * 40 + ["other"] * 40,
        "Age": ["NA", "old", *rng.integers(40, 80, 78)],
    })  # fmt: skip
    clinical.to_csv(tmp_path / "clinical.csv", index=False)
    patients = pd.DataFrame({
        "patient_id": clinical["Patient"],
        "share_TUM": stage / 10 + rng.uniform(0, 0.1, 80),
        "entropy": rng.uniform(0, 1, 80),
    })  # fmt: skip
    patients.to_csv(tmp_path / "patients.csv", index=False)
    return tmp_path / "clinical.csv", tmp_path / "patients.csv"


def test_the_inventory_tells_types_and_what_is_lost(tables: tuple[Path, Path]) -> None:
    result = call(tables[0])
    document = json.loads(call(tables[0], "--json").stdout)

    assert result.exit_code == 0, result.output
    assert "80 patients, 4 columns of use" in result.stdout
    assert "row 3: `age` of p01: 'old'" in result.stdout
    kinds = {row["column"]: row["kind"] for row in document["columns"]}
    assert kinds == {"t_stage": "ordinal", "sex": "binary", "type": "binary", "age": "number"}
    assert document["columns"][3]["missing"] == 2
    assert document["unreadable"][0]["row"] == 3


def test_the_link_writes_tables_and_a_page(tables: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "link"

    result = call(tables[0], "--with", tables[1], "-o", out)

    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    assert "share_TUM with t_stage" in result.stderr
    pairs = pd.read_csv(out / "associations.csv")
    assert len(pairs) == 8
    assert pairs.iloc[0][["measure", "clinical", "test"]].tolist() == [
        "share_TUM", "t_stage", "Spearman",
    ]  # fmt: skip
    assert len(pd.read_csv(out / "linked.csv")) == 80
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "done"
    assert record["funnel"]["used"] == 80
    page = (out / "report.html").read_text()
    assert page.count("<svg") > 3
    assert "<script" not in page
    # Once more over its own folder; never over another's.
    assert call(tables[0], "--with", tables[1], "-o", out).exit_code == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other/linked.csv").write_text("mine\n")
    assert call(tables[0], "--with", tables[1], "-o", tmp_path / "other").exit_code == 2


def test_slips_are_answered_in_one_line(tables: tuple[Path, Path], tmp_path: Path) -> None:
    half = call(tables[0], "--with", tables[1])
    slides = tmp_path / "slides.csv"
    slides.write_text("slide_id,share_TUM\ns1,0.5\n")
    wrong = call(tables[0], "--with", slides, "-o", tmp_path / "o")

    lonely = call(tables[0], "--with-train")

    assert half.exit_code == lonely.exit_code == 2
    assert "`--with-train` goes with --with PATIENTS" in lonely.stderr
    assert "--with PATIENTS and -o FOLDER go together" in half.stderr
    assert wrong.exit_code == 3
    assert "has no column `patient_id`" in wrong.stderr
    assert not (tmp_path / "o").exists()
