"""Which TCGA slides to take: diagnostic or frozen, tumour or normal. Other names pass untouched."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from histokeras.cohort.ids import parse_tcga_slide, sample_type, slide_stem
from histokeras.errors import ConfigError, SlideError

DIAGNOSTIC = "DX"
FIRST_NORMAL = 10
"""Sample types from here on are no tumour: blood, normal tissue, controls."""
_KINDS = {"TS": "frozen, top", "BS": "frozen, bottom", "MS": "frozen, middle"}
_SAMPLES = {
    "01": "primary tumour", "02": "recurrent tumour", "05": "further primary tumour",
    "06": "metastasis", "07": "further metastasis", "10": "blood", "11": "normal tissue",
    "12": "buccal cells", "14": "bone marrow", "20": "control",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SlideChoice:
    """Which slides are wanted; by default all. Acts on TCGA barcodes only.

    Attributes:
        diagnostic_only: Whether frozen sections (TS, BS, MS) are left out.
        sample_types: The sample types to take, two digits each; all if empty.
    """

    diagnostic_only: bool = False
    sample_types: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The options that stand for it; "" if it takes all."""
        parts = ["--diagnostic-only"] if self.diagnostic_only else []
        parts += [f"--sample-types {','.join(self.sample_types)}"] if self.sample_types else []
        return " ".join(parts)

    def why_not(self, name: str) -> str:
        """Return why a slide is left out, "" if it is taken.

        Args:
            name: A slide_id or file name.
        """
        stem = slide_stem(name)
        slide = parse_tcga_slide(stem)
        if self.diagnostic_only and slide is not None and slide.kind != DIAGNOSTIC:
            return f"not diagnostic: {slide.kind} ({_KINDS[slide.kind]})"
        sample = sample_type(stem)
        if self.sample_types and sample is not None and sample not in self.sample_types:
            return f"other sample type: {_sample_text(sample)}"
        return ""


@dataclass(frozen=True)
class Chosen:
    """What became of a choice.

    Attributes:
        left_out: Name -> reason of each slide that is left out.
        notes: Sentences for the person at the screen.
    """

    left_out: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def outcomes(self) -> list[dict[str, str]]:
        """Return the rows of run.json: ``slide``, ``outcome`` (left out), ``reason``."""
        return [
            {"slide": name, "outcome": "left out", "reason": reason}
            for name, reason in self.left_out.items()
        ]


def parse_sample_types(text: str) -> tuple[str, ...]:
    """Read sample types such as ``01,06``; "" stands for all.

    Raises:
        ConfigError: If one is no number of one or two digits.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if not (part.isascii() and part.isdigit() and len(part) <= 2):
            raise ConfigError(
                "`--sample-types` are TCGA codes such as 01 (primary tumour) or 01,06 (and "
                f"metastases). Received: {part!r}"
            )
    return tuple(dict.fromkeys(part.zfill(2) for part in parts))


def choose_slides(names: Iterable[str], choice: SlideChoice) -> Chosen:
    """Find out which slides a choice leaves out.

    Args:
        names: slide_ids or file names.
        choice: What is wanted.

    Returns:
        The slides left out with their reasons, in the order given.

    Raises:
        SlideError: NO_SLIDES if there were slides, and none is left.
    """
    listed = list(names)
    if not choice.text:
        return Chosen({})
    left_out = {name: reason for name in listed if (reason := choice.why_not(name))}
    if listed and len(left_out) == len(set(listed)):
        raise SlideError(
            f"`{choice.text}` leaves none of the {len(left_out)} slide(s): "
            f"{count_reasons(left_out)}.",
            code="NO_SLIDES",
            hint="Take other slides, or more of them: --all-slides, other --sample-types.",
        )
    others = [
        name
        for name in listed
        if name not in left_out and parse_tcga_slide(slide_stem(name)) is None
    ]
    notes = []
    if others:
        notes.append(
            f"{len(others)} of {len(listed)} slide(s) bear no full TCGA name, first "
            f"{others[0]!r}: `{choice.text}` takes them as they are",
        )
    return Chosen(left_out, tuple(notes))


def count_reasons(left_out: Mapping[str, str]) -> str:
    """Return how many slides each reason concerns: "1375 not diagnostic: TS (frozen, top), ..."."""
    counts = Counter(left_out.values())
    return "; ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))


def normal_tissue(*names: str) -> str:
    """Return why a patient's label does not hold for what these names name; "" if it does.

    Args:
        names: A slide_id, or a tile's path; folders of the path count too.
    """
    for name in names:
        for part in name.split("/"):
            sample = sample_type(part)
            if sample is not None and int(sample) >= FIRST_NORMAL:
                return f"{_sample_text(sample)} never inherits the label of a patient's tumour"
    return ""


def describe(kind: str, sample: str) -> tuple[str, str]:
    """Return a slide kind and a sample type in words, such as ("DX (diagnostic)", "01 (...)").

    Args:
        kind: DX, TS, BS or MS; "" if unknown.
        sample: Two digits; "" if unknown.
    """
    kinds = {DIAGNOSTIC: "diagnostic", **_KINDS}
    return (
        f"{kind} ({kinds[kind]})" if kind else "no TCGA slide",
        _sample_text(sample).removeprefix("sample type ") if sample else "-",
    )


def _sample_text(sample: str) -> str:
    known = _SAMPLES.get(sample, "")
    return f"sample type {sample}" + (f" ({known})" if known else "")
