import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from histokeras.errors import ConfigError, SlideError, TableError
from histokeras.slides.annotations import Drawing, Region, read_regions
from histokeras.slides.drawn_files import NODE_WORDS, TUMOUR_WORDS, DrawnFiles
from histokeras.slides.node_classes import (
    drawn_node_classes,
    drawn_tumour_classes,
    node_class,
    regions_of,
    tumour_class,
)


def _square(left: float, right: float) -> np.ndarray:
    return np.array([[left, left], [right, left], [right, right], [left, right]], float)


@pytest.mark.parametrize(
    ("classes", "positive", "wanted", "found"),
    [
        (("0", "1"), "1", None, "1"),
        (("LN", "node"), "node", None, "node"),
        (("background", "Lymph-Node"), None, None, "Lymph-Node"),
        (("node", "fat"), "node", "FAT", "fat"),
    ],
)
def test_node_of_a_network(
    classes: tuple[str, ...], positive: str | None, wanted: str | None, found: str
) -> None:
    assert node_class(classes, positive=positive, wanted=wanted) == found


def test_tumour_of_a_network_is_positive_or_has_a_usual_name() -> None:
    assert tumour_class(("ADI", "TUM", "LYM")) == "TUM"
    assert tumour_class(("no", "yes"), positive="yes") == "yes"
    # A network of another task.
    with pytest.raises(ConfigError, match="it has normoxic, hypoxic"):
        tumour_class(("normoxic", "hypoxic"), positive="hypoxic")
    with pytest.raises(ConfigError, match="it has background, necrosis"):
        node_class(("background", "necrosis"), positive="necrosis")
    with pytest.raises(ConfigError, match="it has ADI, LYM"):
        tumour_class(("ADI", "LYM"))
    with pytest.raises(ConfigError, match="`--tumour-class` is none of ADI, LYM"):
        tumour_class(("ADI", "LYM"), wanted="TUM")


@pytest.mark.parametrize(
    ("choose", "classes", "positive"),
    [
        # A segmenter of nodes and of tumour, and classifiers whose positive class is the other one.
        (node_class, ("background", "Lymph node", "Tumor"), "Tumor"),
        (node_class, ("background", "Tumor"), "Tumor"),
        (tumour_class, ("normal", "tumour"), "normal"),
        (tumour_class, ("fat", "lymph_node"), "lymph_node"),
    ],
)
def test_a_positive_class_that_is_by_its_name_another_one_is_not_guessed(
    choose: Callable[..., str], classes: tuple[str, ...], positive: str
) -> None:
    with pytest.raises(ConfigError, match=f"its positive class is {positive}"):
        choose(classes, positive=positive)
    assert choose(classes, positive=positive, wanted=positive) == positive


def test_drawn_classes_by_usual_names_else_the_only_one() -> None:
    both = ["Lymph node", "Tumor", "Ignore*", "Tumor"]
    assert drawn_node_classes(both) == ("Lymph node",)
    assert drawn_tumour_classes(both) == ("Tumor",)
    assert drawn_node_classes(["LN", "lymph_node", "fat"]) == ("LN", "lymph_node")
    # The only class that is not the other one; Camelyon's regions have none.
    assert drawn_node_classes([""]) == ("",)
    assert drawn_tumour_classes(["node", ""]) == ("",)
    assert drawn_tumour_classes(["_0", "_1", "_2"]) == ("_0", "_1")
    # A cohort without any metastasis has no tumour to name.
    assert drawn_tumour_classes(["node"]) == ()
    assert drawn_node_classes(["Tumor"]) == ()
    assert drawn_node_classes([], wanted=None) == ()
    with pytest.raises(ConfigError, match="there are capsule, fat"):
        drawn_node_classes(["fat", "capsule"])
    with pytest.raises(ConfigError, match="'gland', which nothing is drawn as; there are fat"):
        drawn_node_classes(["fat"], wanted="gland")


def test_what_erases_is_drawn_last() -> None:
    regions = (
        Region("_2", (_square(2, 4),)),
        Region("_0", (_square(0, 8),)),
        Region("node", (_square(0, 20),)),
    )
    kept = regions_of(regions, ("_0",))
    picture = np.zeros((20, 20), np.uint8)
    Drawing(kept, [0 if region.erases else 1 for region in kept]).draw(picture, (1, 1))
    assert picture.sum() == 64 - 4
    assert [one.label for one in regions_of(regions, ("node",))] == ["node"]


def test_negative_polygons_of_camelyon_erase(tmp_path: Path) -> None:
    def ring(left: float, right: float) -> dict[str, object]:
        return {"name": "a", "vertices": _square(left, right).tolist()}

    content = {"negative": [ring(2, 4)], "positive": [ring(0, 8)]}
    (tmp_path / "S1.json").write_text(json.dumps(content))
    kept = regions_of(read_regions(tmp_path / "S1.json"), drawn_tumour_classes([""]))
    assert [one.erases for one in kept] == [False, True]


def test_files_are_found_by_the_name_of_their_slide(tmp_path: Path) -> None:
    names = ("S1.geojson", "M%C3%BC.json", "S2_annotations.xml", "S3/nodes.geojson",
             "P1/A.geojson", "P2/A.geojson", "T.json", "T_nodes.json", ".S9.json")  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    files = DrawnFiles.of(tmp_path)

    def found(slide: str, slide_id: str = "") -> str | None:
        path = files.find(Path(slide), slide_id or Path(slide).stem)
        return None if path is None else path.relative_to(tmp_path).as_posix()

    assert found("S1.svs") == "S1.geojson"
    assert found("Mü.svs") == "M%C3%BC.json"
    assert found("S2.svs") == "S2_annotations.xml"
    assert found("S3.svs") == "S3/nodes.geojson"
    assert found("slides/P2/A.svs", "P2_A") == "P2/A.geojson"
    assert found("S9.svs") is None
    with pytest.raises(TableError, match=r"`A` has several .*P1/A.geojson and P2/A.geojson"):
        found("A.svs")
    with pytest.raises(TableError, match=r"T\.json and T_nodes\.json"):
        found("T.svs")
    (tmp_path / "T_tumour.json").write_text("{}")
    path = files.find(Path("T.svs"), "T", ("nodes",))
    assert path is not None
    assert path.name == "T_nodes.json"
    (tmp_path / "none").mkdir()
    with pytest.raises(SlideError, match="holds no drawn regions"):
        DrawnFiles.of(tmp_path / "none")


def test_no_slide_is_given_the_drawing_of_another_patients_slide(tmp_path: Path) -> None:
    for name in ("P1/B.geojson", "P2/A.geojson", "P2/D.geojson", "C.geojson", "P1_E.geojson"):
        (tmp_path / "P1" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "P1" / name).write_text("{}")
    # What lies above the folder of drawings says nothing of them.
    files = DrawnFiles.of(tmp_path / "P1")

    def found(slide: str, slide_id: str) -> str | None:
        path = files.find(Path("slides") / slide, slide_id, others=("P1", "P2"))
        return None if path is None else path.relative_to(tmp_path / "P1").as_posix()

    # Two slides are called A, and P1 has no drawing of its own.
    assert found("P1/A.svs", "P1_A") is None
    assert found("P2/A.svs", "P2_A") == "P2/A.geojson"
    assert found("P1/D.svs", "D") is None
    assert found("P1/B.svs", "B") == "P1/B.geojson"
    # Of two slides called C nobody knows whose this is; of one it is that one's.
    assert found("P2/C.svs", "P2_C") is None
    assert found("P1/C.svs", "C") == "C.geojson"
    assert found("P1/E.svs", "P1_E") == "P1_E.geojson"


def test_a_file_of_tumour_alone_is_no_file_of_nodes(tmp_path: Path) -> None:
    for name in ("S1_tumour.geojson", "S2_tumour.geojson", "S2_nodes.geojson", "T_tumor.json"):
        (tmp_path / name).write_text("{}")
    files = DrawnFiles.of(tmp_path)

    def found(name: str, words: tuple[str, ...]) -> str | None:
        path = files.find(Path(f"{name}.svs"), name, words)
        return None if path is None else path.name

    assert found("S1", NODE_WORDS) is None
    assert found("S1", TUMOUR_WORDS) == "S1_tumour.geojson"
    assert found("S2", NODE_WORDS) == "S2_nodes.geojson"
    # Here the word is the slide's own.
    assert found("T_tumor", NODE_WORDS) == "T_tumor.json"
