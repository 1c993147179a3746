"""The words of clinical tables: headers, code books, stages, and what stands for "unknown"."""

import re
import unicodedata
from collections.abc import Callable, Mapping

from histokeras.types import PATIENT_ID

TIME, EVENT = "time", "event"
"""Columns of survival: a number above 0, and whether what one waits for was seen."""

CLINICAL_MISSING = frozenset({
    ".", "-", "--", "?", "na", "n/a", "#n/a", "n.a.", "nan", "null", "unknown", "unk",
    "not available", "not reported", "not applicable", "not evaluated", "not known", "missing",
    "discrepancy",
})  # fmt: skip
"""Cells that tell nothing, compared without case and square brackets; beside those of read_table.

"none" is no such word here: of a residual tumour it says that there was none.
"""

ALIASES: dict[str, tuple[str, ...]] = {
    PATIENT_ID: ("bcr_patient_barcode", "patient_identifier", "patientid", "patient_no",
                 "patient_number", "case", "pid", "id"),
    "sex": ("gender", "geschlecht"),
    "age": ("age_years", "age_at_diagnosis", "diagnosis_age", "age_at_initial_pathologic_diagnosis",
            "patient_age", "alter"),
    "t_stage": ("t", "pt", "ct", "t_staging", "pt_stage", "pathologic_t", "pathological_t",
                "ajcc_pathologic_t", "ajcc_tumor_pathologic_pt", "path_t_stage", "clinical_t"),
    "n_stage": ("n", "pn", "cn", "n_staging", "pn_stage", "pathologic_n", "pathological_n",
                "ajcc_pathologic_n", "ajcc_nodes_pathologic_pn", "path_n_stage", "clinical_n"),
    "m_stage": ("m", "pm", "cm", "m_staging", "pm_stage", "pathologic_m", "pathological_m",
                "ajcc_pathologic_m", "ajcc_metastasis_pathologic_pm", "path_m_stage", "clinical_m"),
    "stage": ("comprehensive_staging", "ajcc_stage", "pathologic_stage", "pathological_stage",
              "tnm_stage", "ptnm", "tumor_stage", "tumour_stage", "clinical_stage",
              "ajcc_pathologic_stage", "ajcc_pathologic_tumor_stage"),
    "grade": ("grading", "histological_grade", "histologic_grade", "tumor_grade", "tumour_grade",
              "neoplasm_histologic_grade"),
    "lauren": ("lauren_classification", "lauren_type", "lauren_class"),
    "her2": ("her_2", "her2_neu", "her_2_neu", "her2_status", "her2_ihc", "erbb2"),
    "stroma_quantity": (),
    "tumor_infiltration_pattern": ("tumour_infiltration_pattern", "inf_pattern", "inf"),
    TIME: ("os_time", "os_months", "os_days", "overall_survival", "overall_survival_months",
           "overall_survival_days", "survival_time", "survival_months", "survival_days",
           "follow_up_time", "follow_up_months", "follow_up_days", "time_months", "time_days"),
    EVENT: ("os", "os_status", "os_event", "overall_survival_status", "vital_status", "status",
            "death", "survival_status"),
}  # fmt: skip
"""What each column is called elsewhere, in the form of :func:`snake_name`."""

_UNITS = {"d": "days", "day": "days", "days": "days", "mo": "months", "mos": "months",
          "month": "months", "months": "months", "y": "years", "yr": "years", "yrs": "years",
          "year": "years", "years": "years"}  # fmt: skip
_BRACKET = re.compile(r"^(?P<name>[^(]*\S)\s*\((?P<inside>.*)\)\s*$")
_PAIR = re.compile(r"^(?P<left>[^=:]+?)\s*[=:]\s*(?P<right>.+)$")
_CODE = re.compile(r"\d{1,3}")


def plain_text(text: str) -> str:
    """Return a text in its plain form: Unicode NFKC, single blanks.

    Roman numerals of their own (U+2160 and on) become letters, full-width signs narrow ones.
    """
    return " ".join(unicodedata.normalize("NFKC", text).split())


def is_missing(text: str) -> bool:
    """Return whether a plain text says only that nothing is known."""
    word = text.casefold()
    if word.startswith("[") and word.endswith("]"):
        word = word[1:-1].strip()
    return word == "" or word in CLINICAL_MISSING


def snake_name(text: str) -> str:
    """Return a header as a column name: "Venous Invasion" gives ``venous_invasion``."""
    words = re.sub(r"[^\w]+", "_", plain_text(text).casefold())
    return re.sub(r"_+", "_", words).strip("_")


def parse_header(header: str) -> tuple[str, dict[str, str]]:
    """Take a header apart: its name, and the code book that stands in brackets behind it.

    ``Stroma(Medullary=0, Scirrhous=2)`` and ``HER-2(Negative=0, 1=1+)`` both occur: the code is
    the side that is a whole number.

    Args:
        header: As it stands in the file.

    Returns:
        The name in snake case, and code -> meaning; {} where the brackets hold something else,
        which then is a part of the name (a unit, such as months).
    """
    text = plain_text(header)
    match = _BRACKET.match(text)
    if match is None:
        return snake_name(text), {}
    codes: dict[str, str] = {}
    for part in re.split(r"[,;/]", match["inside"]):
        pair = _PAIR.match(part.strip())
        sides = (pair["left"].strip(), pair["right"].strip()) if pair else ("", "")
        # Of two numbers (1=1) the left one is what stands in the cells.
        code, meaning = sides if _CODE.fullmatch(sides[0]) else (sides[1], sides[0])
        if not _CODE.fullmatch(code) or str(int(code)) in codes:
            return snake_name(text), {}
        codes[str(int(code))] = meaning
    return snake_name(match["name"]), codes


def concept_of(name: str) -> str | None:
    """Return which known column a name in snake case means; None for any other."""
    if name in ALIASES:
        return name
    return next((known for known, others in ALIASES.items() if name in others), None)


def unit_of_header(header: str) -> str:
    """Return "days", "months" or "years" if a header tells; "" if not.

    ``OS.time`` with its dot is the name that TCGA's outcome tables use, in days.
    """
    if header.strip() == "OS.time":
        return "days"
    words = snake_name(header).split("_")
    found = {_UNITS[word] for word in words if word in _UNITS}
    return found.pop() if len(found) == 1 else ""


Scale = Callable[[str], str | None]
"""Brings a cell to its level: "" for "cannot be assessed", None where it is no level at all."""

_PARTS = {
    "t": re.compile(r"^[acpruy]{0,3}t?(?P<level>is|x|[0-4](?:[a-d]|mi)?)(?:\s*\(.*\))?$", re.I),
    "n": re.compile(r"^[acpruy]{0,3}n?(?P<level>x|[0-3](?:[a-d]|mi)?)(?:\s*\(.*\))?$", re.I),
    "m": re.compile(r"^[acpruy]{0,3}m?(?P<level>x|[01](?:[a-d])?)(?:\s*\(.*\))?$", re.I),
    "g": re.compile(r"^(?:grade\s*)?g?(?P<level>x|[1-4])$", re.I),
}
_STAGE = re.compile(
    r"^(?:stage\s*)?(?P<roman>iv|i{1,3}|[0-4]|x|is)\s*(?P<rest>[a-d]?[1-3]?)$", re.I
)
_ROMAN = ("0", "I", "II", "III", "IV")


def _lettered(letter: str) -> Scale:
    def level(text: str) -> str | None:
        match = _PARTS[letter].match(text)
        if match is None:
            return None
        found = match["level"].lower()
        return "" if found == "x" else f"{letter.upper()}{found}"

    return level


def _stage(text: str) -> str | None:
    match = _STAGE.match(text)
    if match is None:
        return None
    roman = match["roman"].upper()
    if roman in ("X", "IS"):
        # Carcinoma in situ is stage 0.
        return "" if roman == "X" else "0"
    return (_ROMAN[int(roman)] if roman.isdigit() else roman) + match["rest"].upper()


def _sex(text: str) -> str | None:
    words = {"female": ("f", "female", "woman", "w", "女"), "male": ("m", "male", "man", "男")}
    return next((sex for sex, known in words.items() if text.casefold() in known), None)


def _her2(text: str) -> str | None:
    word = text.replace(" ", "").casefold()
    levels = {"0": "0", "1": "1+", "1+": "1+", "2": "2+", "2+": "2+", "3": "3+", "3+": "3+"}
    return levels.get(word, "0" if word == "negative" else None)


def _infiltration(text: str) -> str | None:
    match = re.fullmatch(r"(?:inf)?\s*([abc])", text.casefold())
    return f"INF{match[1]}" if match else None


def _stroma(text: str) -> str | None:
    return text.capitalize() if text.casefold() in _STROMA else None


_STROMA = ("medullary", "intermediate", "scirrhous")
SCALES: Mapping[str, Scale] = {
    "t_stage": _lettered("t"), "n_stage": _lettered("n"), "m_stage": _lettered("m"),
    "grade": _lettered("g"), "stage": _stage, "her2": _her2, "stroma_quantity": _stroma,
    "tumor_infiltration_pattern": _infiltration, "sex": _sex,
}  # fmt: skip
"""How the cells of known columns are read; all but ``sex`` have an order."""


def level_rank(concept: str, level: str) -> tuple[int, str]:
    """Return where a level stands: T0 < Tis < T1 < T1a < T1b < T2; I < IA < IB < II.

    Args:
        concept: A key of ``SCALES``.
        level: One of its levels.

    Returns:
        A key to sort by.
    """
    if concept == "stage":
        roman = re.match("IV|I{1,3}|0", level)
        return (_ROMAN.index(roman[0]), level[roman.end() :]) if roman else (len(_ROMAN), level)
    if concept == "stroma_quantity":
        return _STROMA.index(level.casefold()), ""
    if level == "Tis":
        return 0, "is"
    digit = re.search(r"\d", level)
    # A micrometastasis is the least of its level.
    rest = level[digit.end() :].replace("mi", " ") if digit else level
    return (int(digit[0]) if digit else 0), rest


EVENT_WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "yes", "true", "dead", "deceased", "died", "death", "event"), True),
    **dict.fromkeys(("0", "no", "false", "alive", "living", "censored", "lost"), False),
}


def event_of(text: str) -> bool | None:
    """Return whether the event was seen, of a plain text; None if it says neither.

    cBioPortal writes ``1:DECEASED``: a word that is known must agree with its number. Of others
    (``0:DiseaseFree``, ``1:PROGRESSION``) the number tells.
    """
    parts = [part.strip().casefold() for part in text.split(":", 1)]
    parts = [re.sub(r"^([01])\.0+$", r"\1", part) for part in parts]
    if len(parts) == 2 and parts[0] in ("0", "1") and parts[1] not in EVENT_WORDS:
        return EVENT_WORDS[parts[0]]
    found = {EVENT_WORDS.get(part) for part in parts}
    return found.pop() if len(found) == 1 else None
