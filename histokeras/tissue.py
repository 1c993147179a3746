"""The eight tissue classes of gastric and colorectal tile sets: their order, names and colours."""

TISSUES = ("ADI", "DEB", "LYM", "MUC", "MUS", "NOR", "STR", "TUM")
"""Fat, debris, lymphocytes, mucus, smooth muscle, normal mucosa, stroma, tumour: the classes of
HMU-GC-HE-30K, and those of NCT-CRC-HE-100K (Kather et al. 2019) but its background."""

TISSUE_WORDS = {
    "ADI": "fat",
    "DEB": "debris",
    "LYM": "lymphocytes",
    "MUC": "mucus",
    "MUS": "smooth muscle",
    "NOR": "normal mucosa",
    "STR": "stroma",
    "TUM": "tumour",
}

TISSUE_COLOURS = {
    "ADI": "#e69f00",
    "DEB": "#000000",
    "LYM": "#0072b2",
    "MUC": "#56b4e9",
    "MUS": "#b8a600",
    "NOR": "#009e73",
    "STR": "#cc79a7",
    "TUM": "#d55e00",
}
"""``#rrggbb`` of each class, the same in every picture, map and file: those of Okabe and Ito, told
apart by the colour-blind."""

_ALIASES = {"NORM": "NOR"}
"""NCT-CRC calls normal mucosa NORM."""
BACKGROUND = "BACK"
"""NCT-CRC's ninth class, glass without tissue: it has no counterpart among the eight."""


def tissue_of(name: str) -> str | None:
    """Return which of :data:`TISSUES` a class is, by its usual names in any case; None if none."""
    code = name.strip().upper()
    code = _ALIASES.get(code, code)
    return code if code in TISSUES else None
