"""With --pseudonyms no output holds the id of a slide or patient."""

import json
import re
from pathlib import Path

import h5py
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from histokeras.cli.main import main
from histokeras.cohort.pseudonyms import (
    patients_by_slide,
    read_pseudonyms,
    translated,
    translated_split,
)
from histokeras.cohort.split_table import Split
from histokeras.errors import TableError
from histokeras.slides.called import renamed
from histokeras.slides.inventory import find_slides, slide_id_of
from histokeras.slides.synthetic.plain import paint_slide
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.tiles.grid import TileSpec
from histokeras.training.explain_tiles import Search, find_tiles
from tests.bad_inputs.test_slides import LONG, write_cohort
from tests.security.test_privacy import contents, write_svs

N = 14
BROKEN, CUT = 12, 13
SLIDES = [f"Quixote-B{number:02d}" for number in range(N)]
PATIENTS = [f"Dulcinea {number:02d}" for number in range(N)]
SECRETS = [
    text.encode(code)
    for name in ("Quixote", "Dulcinea")
    for text in (name, name.lower(), name.upper())
    for code in ("utf-8", "utf-16-le")
]
COMPARED = ("run/metrics.json", "run/patients.csv", "run/slides.csv", "clusters/patients.csv",
            "clusters/clusters.csv")  # fmt: skip


def call(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def write_squares(folder: Path) -> None:
    """Ready-made tiles with the slide's name in folder and file; one is no picture."""
    rows = []
    for name, patient in zip(SLIDES[:2], PATIENTS, strict=False):
        (folder / "squares" / name).mkdir(parents=True)
        for number in range(3):
            tile = f"{name}/{name}_{number}.png"
            rows.append((tile, name, patient, "ab"[number % 2]))
            image = paint_slide(seed=number, size_px=(96, 96), mpp=0.5, kind="a")
            Image.fromarray(image).save(folder / "squares" / tile)
        (folder / "squares" / tile).write_bytes(b"no picture")
    columns = ["tile", "slide_id", "patient_id", "label"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "squares.csv", index=False)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve good slides, one of HTML, one cut off; tables under their own names and ids."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "slides").mkdir()
    for number, name in enumerate(SLIDES):
        write_svs(folder / "slides" / f"{name}.svs", number)
    whole = (folder / "slides" / f"{SLIDES[CUT]}.svs").read_bytes()
    (folder / "slides" / f"{SLIDES[BROKEN]}.svs").write_bytes(b"<html>expired")
    (folder / "slides" / f"{SLIDES[CUT]}.svs").write_bytes(whole[: len(whole) // 2])
    labels = pd.DataFrame(
        {"patient_id": PATIENTS, "filename": [f"{name}.svs" for name in SLIDES],
         "label": ["ab"[number % 2] for number in range(N)]}
    )  # fmt: skip
    # A lab may have translated some rows already.
    labels.loc[3, ["patient_id", "filename"]] = ["p03", "s03"]
    labels.to_csv(folder / "labels.csv", index=False)
    write_squares(folder)
    pairs = [(name, f"s{i:02d}") for i, name in enumerate(SLIDES)]
    pairs += [(name, f"p{i:02d}") for i, name in enumerate(PATIENTS)]
    pd.DataFrame(pairs, columns=["id", "pseudonym"]).to_csv(folder / "names.csv", index=False)
    return folder


TILE = ("--tile-px", 96)


def fitted(lab: Path, out: Path, labels: Path, *names: object) -> dict[str, Result]:
    """Features, and a head on them, with a split that knows patients by their own names."""
    sides = ["train"] * 6 + ["val"] * 2 + ["test"] * 6
    table = pd.DataFrame({"patient_id": PATIENTS, "split": sides})
    table.to_csv(lab / "sides.csv", index=False)
    return {
        "extract": call("extract-features", lab / "slides", "-o", out / "feats", "--backbone",
                        "stain-texture", *TILE, *names, code=4),
        "fit": call("fit-head", out / "feats", "-o", out / "run", "--split", lab / "sides.csv",
                    "--labels", labels, "--epochs", 1, "--bootstrap", 100, *names),
        "cluster": call("cluster", out / "feats", "-o", out / "clusters", "--method", "kmeans",
                        "--split", lab / "sides.csv", "--labels", labels, *names),
    }  # fmt: skip


@pytest.fixture(scope="module")
def said(lab: Path) -> dict[str, Result]:
    """The whole flow under pseudonyms, into the folder ``out``."""
    slides, out, labels = lab / "slides", lab / "out", lab / "labels.csv"
    names = ("--pseudonyms", lab / "names.csv")
    one, bad = (slides / f"{SLIDES[i]}.svs" for i in (0, BROKEN))
    run = out / "run"
    said = {
        "slides": call("slides", slides, "--json", *names, code=4),
        "tile": call("tile", slides, "-o", out / "tiles", "--save-images", *TILE, *names, code=4),
        "shard": call("tile", slides, "-o", out / "shard", "--shard", "0/2", *TILE, *names, code=4),
        "ready-made": call("extract-features", "--tiles", lab / "squares", "--tile-table",
                           lab / "squares.csv", "--backbone", "stain-texture", "-o",
                           out / "squares", *names, code=4),
        "split": call("split", "--labels", labels, "--target", "label", "-o", out / "split.csv",
                      *names),
    }  # fmt: skip
    said |= fitted(lab, out, labels, *names)
    return said | {
        "dry run": call("extract-features", one, bad, "-o", lab / "dry", "--backbone",
                        "stain-texture", *TILE, "--dry-run", "--json", *names),
        "predict": call("predict", run, one, bad, "--slide-table", labels, "-o", out / "predicted",
                        *names, code=4),
        "evaluate": call("evaluate", run, "--labels", labels, "-o", out / "evaluated",
                         "--bootstrap", 100, *names),
        "heatmap": call("heatmap", run, one, *names),
        "report": call("report", run),
    }  # fmt: skip


def test_no_output_holds_an_id(lab: Path, said: dict[str, Result]) -> None:
    files = [path for path in (lab / "out").rglob("*") if path.is_file()]
    places = {path: (*contents(path), str(path.relative_to(lab / "out")).encode())
              for path in files}  # fmt: skip

    leaks = {
        str(path.relative_to(lab / "out"))
        for path, parts in places.items()
        if any(secret in part for part in parts for secret in SECRETS)
    }

    assert len(files) > 100
    assert leaks == set()
    for command, result in said.items():
        assert not any(secret in result.stdout_bytes for secret in SECRETS), command


def test_slides_and_patients_stand_under_their_pseudonyms(
    lab: Path, said: dict[str, Result]
) -> None:
    out = lab / "out"

    failures = pd.read_csv(out / "feats" / "failures.csv")
    patients = pd.read_csv(out / "run" / "patients.csv")
    record = json.loads((out / "feats" / "run.json").read_text())

    assert set(failures["slide"]) == {"s12", "s13"}
    squares = pd.read_csv(out / "squares" / "tiles" / "s00.csv")
    assert squares["tile"].tolist() == [f"s00/s00_{number}.png" for number in range(3)]
    assert squares["patient_id"].tolist() == ["p00"] * 3
    assert "tile `s00_2.png` cannot be read" in squares["reason"].iloc[2]
    assert "slide `s12.svs` starts with" in "".join(failures["message"])
    assert set(patients["patient_id"]) == {f"p{i:02d}" for i in range(12)}
    assert (out / "tiles" / "images" / "s00").is_dir()
    assert (out / "run" / "heatmaps" / "s00.geojson").is_file()
    assert record["config"]["pseudonyms"] == "names.csv"
    with h5py.File(out / "feats" / "features" / "s00.h5") as file:
        assert file["coords"].attrs["name"] == "s00"


def test_results_are_those_without_pseudonyms(lab: Path, said: dict[str, Result]) -> None:
    own = pd.read_csv(lab / "labels.csv")
    own.loc[3, ["patient_id", "filename"]] = [PATIENTS[3], f"{SLIDES[3]}.svs"]
    own.to_csv(lab / "own.csv", index=False)
    fitted(lab, lab / "plain", lab / "own.csv")
    pairs = list(pd.read_csv(lab / "names.csv").itertuples(index=False))

    for name in COMPARED:
        plain = (lab / "plain" / name).read_text()
        # The search of the test above finds what it looks for.
        assert name == "run/metrics.json" or any(secret in plain.encode() for secret in SECRETS)
        for original, pseudonym in pairs:
            plain = plain.replace(original, pseudonym)
        assert plain == (lab / "out" / name).read_text(), name


def test_one_folder_holds_names_of_one_kind(lab: Path, said: dict[str, Result]) -> None:
    again = call("tile", lab / "slides", "-o", lab / "out" / "tiles", "--tile-px", 96, code=2)

    assert "was written with `--pseudonyms`" in again.output


def test_features_under_own_names_are_refused(lab: Path, said: dict[str, Result]) -> None:
    names = lab / "others.csv"
    table = pd.read_csv(lab / "names.csv")
    table = table.assign(id=table["pseudonym"], pseudonym=[f"x{i}" for i in table.index])
    table.to_csv(names, index=False)

    refused = call("predict", lab / "out" / "run", lab / "out" / "feats", "-o", lab / "no",
                   "--pseudonyms", names, code=3)  # fmt: skip

    assert "12 slide(s) of the features go by their own names, first `s00`" in refused.output
    assert not (lab / "no" / "predictions").exists()


def test_labels_without_the_table_are_told_of_it(lab: Path, said: dict[str, Result]) -> None:
    labels = lab / "plain.csv"
    pd.DataFrame({"patient_id": PATIENTS, "label": ["a", "b"] * (N // 2)}).to_csv(labels)

    common = (lab / "out" / "feats", "--labels", labels, "-o", lab / "no")
    refused = call("fit-head", *common, code=3)
    alike = call("cluster", *common, "--split", lab / "sides.csv", code=3)

    assert "The features go by pseudonyms" in refused.output
    assert "The features go by pseudonyms" in alike.output


def test_tiles_to_explain_go_by_pseudonyms(lab: Path, said: dict[str, Result]) -> None:
    names = read_pseudonyms(lab / "names.csv")
    search = Search(
        run=lab / "out" / "run", spec=TileSpec(size_px=96), ready_made=False, resize=False,
        classes=("a", "b"), n=1, pseudonyms=names,
    )  # fmt: skip
    squares = sorted((lab / "squares" / SLIDES[0]).iterdir())

    found = find_tiles([lab / "slides" / f"{SLIDES[0]}.svs", squares[0]], search)

    places = [tile.place for tile in found.tiles]
    assert {place.slide_id for place in places} == {"", "s00"}
    assert {place.tile for place in places} == {"", "s00_0.png"}
    assert all("Quixote" not in place.name for place in places)
    assert all(tile.read().shape == (96, 96, 3) for tile in found.tiles)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("id,pseudonym\na,p\nb,P\n", "PSEUDONYM_CONFLICT", "row 3: the pseudonym `P` of `b`"),
        ("id,pseudonym\na,p\na,q\n", "PSEUDONYM_CONFLICT", "`a` has another pseudonym, `p`"),
        ("id,pseudonym\na,p\nb,a\n", "PSEUDONYM_CONFLICT", "`a` of `b` is the id of a row"),
        ("id,pseudonym\na,a\n", "PSEUDONYM_CONFLICT", "is the id of a row"),
        ("id,pseudonym\na,../p\n", "PSEUDONYM_UNSAFE", "is a path"),
        ("id,pseudonym\na,p\x07\n", "PSEUDONYM_UNSAFE", "control characters"),
        ("id,pseudonym\na,p.svs\n", "PSEUDONYM_UNSAFE", "ends like a file"),
        ("id,pseudonym\na,TCGA-A2-A0T2\n", "PSEUDONYM_UNSAFE", "TCGA barcode"),
        ("id,pseudonym\na,\n", "TABLE", "row 2: a cell is empty"),
        ("id,name\na,p\n", "COLUMN_MISSING", "needs the columns id"),
        ("slide_id,patient_id,pseudonym\na,b,p\n", "COLUMN_AMBIGUOUS", "one below the other"),
    ],
)
def test_a_table_that_will_not_do(text: str, code: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text(text)

    with pytest.raises(TableError, match=re.escape(message)) as caught:
        read_pseudonyms(path)

    assert caught.value.code == code


@pytest.mark.parametrize("command", ["slides", "tile", "extract-features"])
def test_a_slide_without_pseudonym_stops_before_any_work(command: str, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.svs").write_bytes(b"x")
    (tmp_path / "names.csv").write_text("slide;pseudonym\na.svs;p\n")
    words = [command, str(tmp_path), "--pseudonyms", str(tmp_path / "names.csv")]
    if command != "slides":
        words += ["-o", str(tmp_path / "out")]
    if command == "extract-features":
        words += ["--backbone", "stain-texture"]

    result = CliRunner().invoke(main, words)

    assert result.exit_code == 3
    assert "2 of 3 slide(s) have no pseudonym in names.csv: `b`, `c`." in result.output
    assert not (tmp_path / "out").exists()


S1, S2 = "TCGA-A2-A0T2-01Z-00-DX1.0A1B", "TCGA-A2-A0T2-11A-01-TS1"
TCGA = Pseudonyms({S1: "s1", S2: "s2", "TCGA-A2-A0T2": "p1", "TCGA-B6-A0I1": "p2"}, "names.csv")


def test_barcodes_of_other_length_are_found_and_tell_the_patient() -> None:
    table = pd.DataFrame({"filename": [f"x/{S1}.svs", S2, "s2"], "label": ["a", "b", "b"]})
    by_patient = pd.DataFrame({"case_id": ["TCGA.A2.A0T2", "TCGA-B6-A0I1-01", "p2", ""]})

    assert translated(table, TCGA)["filename"].tolist() == ["s1", "s2", "s2"]
    assert translated(table, TCGA)["patient_id"].tolist() == ["p1", "p1", ""]
    assert translated(by_patient, TCGA)["case_id"].tolist() == ["p1", "p2", "p2", ""]
    assert patients_by_slide(None, TCGA) == {"s1": "p1", "s2": "p1"}
    # A table's word counts before the barcode's.
    said = pd.DataFrame({"slide_id": ["s1"], "patient_id": ["p2"]})
    assert patients_by_slide(None, TCGA, said) == {"s2": "p1"}
    with pytest.raises(TableError, match=r"1 of 2 patient\(s\) have no pseudonym") as caught:
        translated(pd.DataFrame({"patient_id": ["TCGA-C8-A12K", "p1"]}), TCGA)
    assert caught.value.code == "PSEUDONYM_MISSING"


def test_a_patient_without_row_is_not_told_by_a_barcode() -> None:
    names = Pseudonyms({S1: "s1"})

    assert patients_by_slide(None, names) == {}
    assert "patient_id" not in translated(pd.DataFrame({"slide_id": [S1]}), names)


def test_a_split_is_translated_on_the_same_sides() -> None:
    table = pd.DataFrame({"patient_id": ["TCGA-A2-A0T2", "p2"], "split": ["test", "train"]})

    found = translated_split(Split(table, "patient_id"), TCGA)

    assert found.table.to_numpy().tolist() == [["p1", "test"], ["p2", "train"]]


def test_hypoxia_labels_name_pseudonyms_alone(tmp_path: Path) -> None:
    rows = [("TCGA-A2-A0T2-01", 3), ("TCGA-A2-A0T2-06", 1), ("TCGA-B6-A0I1", -5)]
    lines = [f"{name},{score},BRCA" for name, score in rows]
    (tmp_path / "scores.csv").write_text("\n".join(["patient_id,score,tumour_type", *lines]))
    (tmp_path / "names.csv").write_text(
        "\n".join(["id,pseudonym", *(f"{key},{name}" for key, name in TCGA.ids.items())])
    )

    call("label-hypoxia", tmp_path / "scores.csv", "-o", tmp_path / "out" / "labels.csv", "--rule",
         "sign", "--pseudonyms", tmp_path / "names.csv")  # fmt: skip

    labels = pd.read_csv(tmp_path / "out" / "labels.csv")
    assert labels["patient_id"].tolist() == ["p1", "p2"]
    assert labels["label"].tolist() == ["hypoxic", "non-hypoxic"]
    for path in (tmp_path / "out").iterdir():
        assert b"TCGA" not in path.read_bytes(), path.name


def test_ids_inside_texts() -> None:
    names = Pseudonyms({"A1": "p", "A1-b": "q", "(7)": "r"})

    assert names.masked("A1/A1-b_20.png, A12 xA1 A1.svs") == "p/q_20.png, A12 xA1 p.svs"
    assert names.masked("scan (7)/0_7.png") == "scan (r)/0_r.png"
    assert renamed("slide `B12.svs`: its B12x.ini", "B12", "p") == "slide `p.svs`: its B12x.ini"
    assert renamed("slide `Vera.svs`: its Verax.ini", "Vera", "p") == "slide `p.svs`: its px.ini"


def test_no_error_of_a_bad_slide_tells_its_name(tmp_path: Path) -> None:
    slides, out = tmp_path / "slides", tmp_path / "out"
    slides.mkdir()
    write_cohort(slides)
    for path in sorted(slides.iterdir()):
        if len(path.name) < 200:
            path.rename(path.with_name(f"Quixote {path.name}"))
    found = find_slides([slides, *slides.glob("*.png"), *slides.glob("*.slide")])
    rows = [(slide_id_of(path), f"s{i}") for i, path in enumerate(found)]
    pd.DataFrame(rows, columns=["slide_id", "pseudonym"]).to_csv(tmp_path / "names.csv")
    (slides / "drawn").mkdir()
    (slides / "drawn" / f"{rows[0][0]}.geojson").write_text("{")
    names = ("--pseudonyms", tmp_path / "names.csv")
    tile = ("tile", *found, "--tile-px", 128, "-o")

    call(*tile, out / "tiles", *names, code=4)
    call(*tile, out / "drawn", "--tissue", slides / "drawn", *names, code=4)
    listed = call("slides", *found, "--json", *names, code=4)

    assert b"Quixote" not in listed.stdout_bytes
    codes = set(pd.read_csv(out / "tiles" / "failures.csv")["code"])
    assert len(codes) > 12
    assert codes >= {"TILE_CORRUPT", "SLIDE_TRUNCATED", "SLIDE_INCOMPLETE", "SLIDE_NAME"}
    drawn = pd.read_csv(out / "drawn" / "failures.csv")["message"]
    assert any(drawn.str.contains(r"annotations s\d+\.geojson: is no valid GeoJSON"))
    assert any(drawn.str.contains(r"annotations s\d+\.geojson: no such file"))
    assert "UNEXPECTED" not in codes
    for path in out.rglob("*.*"):
        assert b"Quixote" not in path.read_bytes(), path.name
        assert LONG.encode() not in path.read_bytes(), path.name
