from histokeras.report.colours import OKABE_ITO, class_looks
from histokeras.tissue import TISSUE_COLOURS, TISSUE_WORDS, TISSUES, tissue_of


def test_the_order_is_that_of_the_published_sets() -> None:
    assert TISSUES == ("ADI", "DEB", "LYM", "MUC", "MUS", "NOR", "STR", "TUM")
    assert tuple(TISSUE_WORDS) == tuple(TISSUE_COLOURS) == TISSUES
    assert sorted(TISSUE_COLOURS.values()) == sorted(OKABE_ITO)


def test_names_of_both_sets_mean_the_same_tissue() -> None:
    assert [tissue_of(name) for name in ("NOR", "NORM", " tum ", "BACK", "tumour")] == [
        "NOR", "NOR", "TUM", None, None,
    ]  # fmt: skip


def test_a_tissue_has_one_colour_whatever_stands_beside_it() -> None:
    for beside in (["NORM"], ["STR", "LYM"], list(TISSUES)):
        assert class_looks({"TUM", *beside})["TUM"].colour == TISSUE_COLOURS["TUM"]
    assert class_looks(["NORM", "TUM"])["NORM"].colour == TISSUE_COLOURS["NOR"]
    assert len({look.colour for look in class_looks(TISSUES).values()}) == 8
    # Among other classes none of them is known for a tissue.
    assert class_looks(["TUM", "other"])["TUM"].colour == OKABE_ITO[0]
