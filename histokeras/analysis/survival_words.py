"""Names and numbers of survival as a reader sees them."""

ALL = "all patients"
"""The curve of everybody."""
RISK = "risk_"
"""What the curves of a model's risk, and their columns, begin with."""
TITLES = {
    "clinical": "Clinical columns alone",
    "table": "Tissue alone",
    "features": "Features alone",
    "clinical+table": "Clinical columns and tissue",
    "clinical+features": "Clinical columns and features",
}
"""What models of the risk are called."""
_TOGETHER = {
    "univariable": "Each column alone",
    "clinical": "Clinical columns together",
    "table": "Columns of the tissue together",
    "clinical+table": "Clinical columns and tissue together",
}


def model_title(name: str) -> str:
    """Return what a model is called."""
    return TITLES.get(name, name)


def hazard_title(name: str) -> str:
    """Return what a model of hazard ratios is called."""
    return _TOGETHER.get(name, name)


def p_text(p: float | None) -> str:
    """Return "p = 0.031", "p < 0.001"."""
    if p is None:
        return "p not computed"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
