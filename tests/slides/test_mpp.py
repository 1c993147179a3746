import pytest

from histokeras.errors import SlideError
from histokeras.slides.mpp import FoundMpp, find_mpp

PER_CM = {"tiff.ResolutionUnit": "centimeter"}


def find(
    properties: dict[str, str],
    *,
    vendor: str | None = "aperio",
    table_mpp: float | None = None,
    default_mpp: float | None = None,
) -> FoundMpp:
    return find_mpp(
        properties, vendor=vendor, name="a.svs", table_mpp=table_mpp, default_mpp=default_mpp
    )


EVERYTHING = {
    "openslide.mpp-x": "0.25",
    "openslide.mpp-y": "0.25",
    "tiff.XResolution": "25000",
    "tiff.YResolution": "25000",
    "openslide.objective-power": "20",
} | PER_CM


def test_the_slide_table_wins_over_everything() -> None:
    found = find(EVERYTHING, table_mpp=0.3, default_mpp=0.9)

    assert (found.value, found.source) == (0.3, "slide table")


def test_each_step_of_the_chain_is_taken_when_the_one_before_is_absent() -> None:
    properties = dict(EVERYTHING)
    order = []
    for gone in ("openslide.mpp", "tiff.", "openslide.objective"):
        found = find(properties, default_mpp=0.9)
        order.append((found.value, found.source))
        properties = {k: v for k, v in properties.items() if not k.startswith(gone)}
    found = find(properties, default_mpp=0.9)

    assert [*order, (found.value, found.source)] == [
        (0.25, "slide properties"),
        (0.4, "TIFF resolution"),
        (0.5, "objective power"),
        (0.9, "--default-mpp"),
    ]


def test_nothing_found_is_mpp_missing_with_both_remedies() -> None:
    with pytest.raises(SlideError, match=r"--default-mpp, or an `mpp` column") as caught:
        find({})

    assert caught.value.code == "MPP_MISSING"


@pytest.mark.parametrize("text", ["0", "-0.5", "nan", "0.000001", "50", "unknown"])
def test_an_absurd_mpp_of_the_slide_is_an_error_and_never_passed_over(text: str) -> None:
    with pytest.raises(SlideError, match=r"outside 0\.05-20") as caught:
        find({"openslide.mpp-x": text, "openslide.objective-power": "20"}, default_mpp=0.5)

    assert caught.value.code == "MPP_ABSURD"


@pytest.mark.parametrize(
    ("source", "arguments"),
    [("slide table", {"table_mpp": float("nan")}), ("--default-mpp", {"default_mpp": 30.0})],
)
def test_absurd_numbers_of_the_user_are_refused_too(
    source: str, arguments: dict[str, float]
) -> None:
    with pytest.raises(SlideError, match=source):
        find({}, **arguments)  # type: ignore[arg-type]


def test_different_mpp_across_and_down_is_refused_beyond_two_percent() -> None:
    with pytest.raises(SlideError, match=r"0\.5 across and 0\.511 down") as caught:
        find({"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.511"})
    found = find({"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.51"})

    assert caught.value.code == "MPP_ANISOTROPIC"
    assert found.value == pytest.approx(0.505)


def test_objective_power_that_contradicts_the_mpp_is_noted() -> None:
    found = find({"openslide.mpp-x": "0.5", "openslide.objective-power": "40"})
    agreeing = find({"openslide.mpp-x": "0.23", "openslide.objective-power": "40"})

    assert found.value == 0.5
    assert found.notes[0].startswith("MPP_CONFLICT: objective power 40 suggests 0.25")
    assert agreeing.notes == ()


@pytest.mark.parametrize("dpi", [72, 96, 150, 300, 1200])
def test_print_resolutions_count_as_absent(dpi: int) -> None:
    tags = {"tiff.XResolution": str(dpi), "tiff.ResolutionUnit": "inch"}

    assert find(tags, default_mpp=0.5).source == "--default-mpp"
    assert find(tags | {"openslide.objective-power": "40"}).source == "objective power"
    with pytest.raises(SlideError, match=f"{dpi} dots per inch") as caught:
        find(tags)
    assert caught.value.code == "MPP_ABSURD"


def test_resolution_tags_too_fine_to_be_true_are_an_error() -> None:
    with pytest.raises(SlideError, match=r"0\.01 \(TIFF resolution\)"):
        find({"tiff.XResolution": "1000000"} | PER_CM, default_mpp=0.5)


def test_resolution_tags_without_unit_say_nothing() -> None:
    tags = {"tiff.XResolution": "20000", "tiff.ResolutionUnit": "none"}

    with pytest.raises(SlideError, match="does not say"):
        find(tags)


def test_the_mpp_of_a_generic_tiff_is_called_what_it_is() -> None:
    properties = {"openslide.mpp-x": "0.5", "tiff.XResolution": "20000"} | PER_CM

    assert find(properties, vendor="generic-tiff").source == "TIFF resolution"
    png = properties | {"histokeras.format": "PNG"}
    assert find({**png, "openslide.mpp-x": ""}, vendor=None).source == "image resolution"
