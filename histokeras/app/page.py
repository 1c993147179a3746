"""The page itself: the one file that knows Streamlit. Started by its path, never imported.

What it shows comes from the plain modules beside it; here are only widgets and their order. Text
that is not ours goes through ``plain`` or into escaped HTML.
"""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.formparsers import MultiPartParser

from histokeras.analysis.aggregate import SHARE
from histokeras.app import bars, patients, samples, slide, upload, verdict
from histokeras.app.facts import RunFacts, read_facts
from histokeras.app.scope import scope_remarks
from histokeras.app.server import MAX_UPLOAD_MB
from histokeras.app.settings import Settings, from_arguments
from histokeras.app.upload import Tile
from histokeras.app.words import RESEARCH, class_words, plain
from histokeras.errors import HistokerasError
from histokeras.files import sha256_bytes
from histokeras.foreign.text import printable
from histokeras.models import quiet
from histokeras.report.colours import class_looks
from histokeras.runs.record import failure
from histokeras.tissue import TISSUE_WORDS, TISSUES
from histokeras.types import PRED, PROB

# Uploads stay in memory: Starlette would put those above 1 MB into a temporary file.
MultiPartParser.spool_max_size = (MAX_UPLOAD_MB + 1) << 20

_SAMPLE, _PAINTED, _OWN = "Tile of the run", "Painted tile", "Your own picture"
_WIDE, _ALONE_PX = 1.6, 600
_NARROW = """<style>
.stMainBlockContainer {max-width: 75rem; padding: 1.5rem 1.2rem 4rem}
h1 {font-size: 1.7rem !important; padding: 0 !important}
</style>"""


@st.cache_resource(show_spinner="Opening the network, once ...")
def _engine(settings: Settings) -> Any:
    quiet.import_tensorflow()
    from histokeras.app import engine  # noqa: PLC0415

    return engine, engine.open_engine(settings)


@st.cache_resource(show_spinner=False)
def _samples(run: Path) -> Any:
    found = samples.find_samples(read_facts(run))
    return found, samples.colour_range(found)


@st.cache_resource(show_spinner="Reading the slide ...", max_entries=8)
def _view(path: Path, name: str, default_mpp: float | None) -> Any:
    return slide.view_slide(path, name, default_mpp=default_mpp)


def _shown(show: Callable[..., None], *arguments: Any) -> None:
    """Show a part of the page; an error is one line in its place."""
    try:
        show(*arguments)
    except Exception as error:
        if not isinstance(error, HistokerasError):
            # The traceback is for whoever started the page, not for who looks at it.
            logging.getLogger("histokeras").exception("the page met a bug")
        # Without folders: they are nobody's business but of whoever started it.
        row = failure("", "app", error)
        st.error(plain(f"{row['message']} {row['hint']}"))


# A part is run again by its own widgets alone: a slider of one reads no slide of another.
_part = st.fragment(_shown)


def _page() -> None:
    settings = from_arguments(sys.argv[1:])
    facts = read_facts(settings.run)
    st.html(_NARROW)
    st.html(bars.footer(RESEARCH))
    st.title(plain(f"histokeras · {settings.run.name}"), anchor=False)
    st.caption("  \n".join(plain(line) for line in facts.lines))
    shown = [("Tile", _tile_tab), ("Slide", _slide_tab), ("Patients", _patient_tab)]
    if settings.slides is None:
        del shown[1]
    tabs = zip(st.tabs([name for name, _ in shown]), shown, strict=True)
    # The network takes seconds to open, once: what can do without it comes first.
    for tab, (_, show) in reversed(list(tabs)):
        with tab:
            _part(show, settings, facts)


def _tile_tab(settings: Settings, facts: RunFacts) -> None:
    if facts.why_no_tile:
        st.info(plain(facts.why_no_tile))
        return
    engine, network = _engine(settings)
    found, colours = _samples(settings.run)
    tile = _chosen_tile(settings, facts, found)
    if tile is None:
        return
    key = sha256_bytes(tile.image.tobytes()), tile.normalised
    probs = _kept("probs", key, lambda: engine.probabilities(network, tile))
    words = class_words(facts.classes)
    for remark in scope_remarks(
        tile.image,
        max_background=None if facts.ready_made else network.classifier.tile_spec.max_background,
        colours=colours,
    ):
        st.warning(plain(f"Out of scope? {remark} (A rule of thumb.)"))
    says, pictures = st.columns([2, 3], gap="medium")
    with says:
        _verdict(probs, words)
    with pictures:
        best = verdict.ranking(probs)[0][0]
        _evidence(engine, network, tile, key, best, words)
    st.caption("  \n".join(plain(note) for note in (tile.said, *network.notes)))


def _chosen_tile(settings: Settings, facts: RunFacts, found: Any) -> Tile | None:
    size, mpp = int(facts.features["tile_size_px"]), facts.mpp or settings.mpp
    sources = [_SAMPLE, _PAINTED, _OWN] if found else [_PAINTED, _OWN]
    source = st.radio("Which tile?", sources, horizontal=True, label_visibility="collapsed")
    if source == _SAMPLE:
        sample = st.selectbox("Tile", found, format_func=lambda item: item.name)
        return _sample(settings, facts, sample, size)
    if source == _PAINTED:
        left, right = st.columns([3, 1])
        kind = left.selectbox("Tissue", TISSUES, index=7, format_func=TISSUE_WORDS.__getitem__)
        seed = int(right.number_input("Number", 0, 9999, 0))
        return samples.painted_tile(kind, seed, size, mpp)
    return _uploaded(size, mpp)


def _sample(settings: Settings, facts: RunFacts, sample: Any, size: int) -> Tile:
    path = None
    if settings.slides is not None and sample.location is not None:
        path = slide.choices(settings.slides).get(sample.slide_id)
    if path is None:
        return samples.sample_tile(sample, size)
    tile = slide.slide_tile(path, sample.slide_id, sample.location, facts, settings.default_mpp)
    return Tile(tile.image, f"{tile.said} {sample.said}", tile.name)


def _uploaded(size: int, wanted_mpp: float | None) -> Tile | None:
    left, right = st.columns([3, 1])
    file = left.file_uploader(
        f"A tile as PNG, JPEG or TIFF, at most {MAX_UPLOAD_MB} MB. It stays in this machine's "
        "memory.",
        type=list(upload.SUFFIXES),
    )
    mpp = 0.0
    if wanted_mpp is not None:
        mpp = right.number_input(
            "µm per pixel, if known", 0.0, 20.0, 0.0, 0.05, help="0: unknown", format="%.3f"
        )
    if file is None:
        st.info("Upload a picture of H&E-stained tissue: its middle is taken as one tile.")
        return None
    data = file.getvalue()
    if len(data) > MAX_UPLOAD_MB << 20:
        raise HistokerasError(f"the upload has more than {MAX_UPLOAD_MB} MB.")
    image, kind = upload.read_upload(data, file.name)
    fitted, done = upload.fit_to_tile(image, size, mpp=mpp or None, wanted_mpp=wanted_mpp)
    return Tile(fitted, f"Your picture ({kind}). {done}", file.name)


def _kept(name: str, key: Any, make: Callable[[], Any]) -> Any:
    """Return what was made for the same tile before: sliders ask again and again."""
    known = st.session_state.get(name)
    if known is None or known[0] != key:
        with st.spinner("Looking at the tile ..."):
            known = st.session_state[name] = (key, make())
    return known[1]


def _verdict(probs: dict[str, float], words: dict[str, str]) -> None:
    place, below = st.container(), st.container()
    threshold = st.slider(
        "Unsure below this probability", 0.0, 1.0, verdict.DEFAULT_THRESHOLD, 0.05, key="threshold"
    )
    found = verdict.judge(probs, threshold, words)
    colour = None if found.unsure else class_looks(probs)[found.best].colour
    with place:
        st.html(bars.headline(found.head, found.sentence, colour))
    with below:
        st.html(bars.probability_bars(probs, words, threshold=threshold))


def _evidence(
    engine: Any, network: Any, tile: Tile, key: Any, best: str, words: dict[str, str]
) -> None:
    left, right = st.columns(2)
    names = list(words)
    chosen, opacity = st.columns(2)
    # A new tile begins with its own best class.
    name = chosen.selectbox(
        "Grad-CAM: what speaks for", names, names.index(best), format_func=words.__getitem__,
        key=f"explained {best}",
    )  # fmt: skip
    strength = opacity.slider("Opacity of the map", 0.0, 1.0, 0.5, 0.05)
    item = _kept("map", (key, name), lambda: engine.explain_tile(network, tile, name))
    left.image(item.image, caption="The tile", width="stretch")
    right.image(engine.overlay(item, strength), caption="Grad-CAM over it", width="stretch")
    if not item.clear:
        st.info(plain(f"No clear evidence for {words[name]}: nothing is drawn."))


def _slide_tab(settings: Settings, facts: RunFacts) -> None:
    if facts.why_no_slide:
        st.info(plain(facts.why_no_slide))
        return
    found = slide.choices(Path(str(settings.slides)))
    name = st.selectbox("Slide", sorted(found), help="The slides below --slides")
    table, said = slide.saved_predictions(settings, facts, name)
    if table is None:
        table, said = _predicted_here(settings, facts, name, found[name])
    if table is None:
        view = _view(found[name], name, settings.default_mpp)
        st.image(view.image, caption=view.said, width=_ALONE_PX)
        return
    view = _view(found[name], name, settings.default_mpp)
    slide.require_inside(view, table, name)
    show = _bag if facts.is_bags else _map
    show(facts, name, table, view)
    st.caption(plain(f"{len(table)} tiles. {said}"))
    one, two, _ = st.columns([1, 1, 2])
    one.download_button(
        "Tiles as CSV", slide.csv_bytes(table), f"{name}.csv", "text/csv", width="stretch"
    )
    two.download_button(
        "GeoJSON for QuPath", slide.geojson_bytes(name, table, facts.classes), f"{name}.geojson",
        "application/geo+json", width="stretch",
    )  # fmt: skip


def _predicted_here(settings: Settings, facts: RunFacts, name: str, path: Path) -> tuple[Any, str]:
    said = "Predicted on this page; nothing was written."
    tables = st.session_state.setdefault("slides", {})
    if name in tables:
        return tables[name], said
    if facts.why_no_tile:
        st.info(plain(f"The run holds no predictions of this slide. {facts.why_no_tile} Run "
                      "histokeras predict and give its output as --predictions."))  # fmt: skip
        return None, ""
    place = st.empty()
    with place.container():
        st.info("The run holds no predictions of this slide.")
        if not st.button("Predict this slide", type="primary"):
            return None, ""
        engine, network = _engine(settings)
        bar = st.progress(0.0, "Reading the slide ...")
    tables[name] = engine.predict_slide(
        network, path, name, default_mpp=settings.default_mpp,
        count=lambda done, total: bar.progress(
            done / total, f"{done} of {total} tiles; stay here until it is done"
        ),
    )  # fmt: skip
    place.empty()
    return tables[name], said


def _map(facts: RunFacts, name: str, table: Any, view: Any) -> None:
    words = class_words(facts.classes)
    wide = view.image.shape[1] > _WIDE * view.image.shape[0]
    left, right = (st.container(), st.container()) if wide else st.columns(2)
    st.html(bars.legend(words))
    threshold = st.columns(2)[0].slider(
        "Pale below this probability", 0.0, 1.0, verdict.DEFAULT_THRESHOLD, 0.05, key="pale"
    )
    left.image(view.image, caption=view.said, width="stretch")
    right.image(
        slide.class_map(view, table, facts.classes, threshold),
        caption="Most probable class of each tile", width="stretch",
    )  # fmt: skip
    st.markdown("**Composition**: share of tiles of each class")
    shares = slide.composition(table, facts.classes, name)
    st.html(bars.probability_bars(shares, words, percent=True))


def _bag(facts: RunFacts, name: str, table: Any, view: Any) -> None:
    st.image(slide.attention_picture(view, table, name), width="stretch")
    st.markdown("**Probability** of the whole bag of tiles")
    probs = slide.bag_probabilities(table, facts.classes)
    st.html(bars.probability_bars(probs, class_words(facts.classes)))


def _patient_tab(settings: Settings, facts: RunFacts) -> None:
    table = patients.patients_table(facts)
    if table.empty:
        st.info("This run knows no patients.")
    else:
        if facts.of_tiles:
            st.info(
                "Labels of this run are of single tiles: here are means over a patient's tiles."
            )
        _table(table, "patients")
    if settings.composition is not None:
        found, whose = patients.composition_table(settings.composition)
        st.subheader(f"Composition of each {whose}", anchor=False)
        _table(found, "composition")


def _table(table: Any, name: str) -> None:
    sides = sorted(set(table["split"])) if "split" in table else []
    if len(sides) > 1:
        side = st.radio("Side of the split", ["all", *sides], horizontal=True, key=f"{name} side")
        table = table if side == "all" else table[table["split"] == side]
    config: dict[str, Any] = {column: _title(column) for column in table}
    config |= {
        column: st.column_config.ProgressColumn(
            _title(column), min_value=0.0, max_value=1.0, format="%.2f"
        )
        for column in table
        if column.startswith((PROB, SHARE))
    }
    st.dataframe(table, hide_index=True, column_config=config, width="stretch")
    st.download_button(
        f"{len(table)} rows as CSV", slide.csv_bytes(table), f"{name}.csv", "text/csv"
    )


def _title(column: str) -> str:
    for prefix, word in ((PROB, "prob. "), (PRED, "predicted "), (SHARE, "tiles: ")):
        if column.startswith(prefix):
            return word + printable(column.removeprefix(prefix), one_line=True)
    return printable(column, one_line=True).replace("_", " ").removesuffix(" id")


st.set_page_config(page_title="histokeras", layout="wide", initial_sidebar_state="collapsed")
_shown(_page)
