"""The manifest of a slide: what reading its tiles showed, and why none may be left."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from histokeras.tiles.plan import ANNOTATION, BACKGROUND, CORRUPT, TilePlan

LEFT_OUT = "TILE_LEFT_OUT"
"""Code of a corrupt tile that was left out; its slide did not fail."""
_SPECKS = 0.005
"""Less tissue than this share of the slide is dust."""


def finish_manifest(plan: TilePlan, backgrounds: Mapping[int, float]) -> pd.DataFrame:
    """Write down what reading the candidates showed.

    Args:
        plan: The plan; it is not changed.
        backgrounds: Background of every candidate, by row of the manifest; NaN if it is corrupt.

    Returns:
        The manifest with ``background``, ``kept`` and ``reason`` filled in.

    Raises:
        ValueError: If a candidate was not read, or another row was.
    """
    rows = np.array(sorted(backgrounds), dtype=np.int64)
    if not np.array_equal(rows, plan.candidates):
        raise ValueError(
            f"`backgrounds` must hold the plan's {len(plan.candidates)} candidates. "
            f"Received: {len(rows)} rows"
        )
    manifest = plan.manifest.copy()
    values = np.array([backgrounds[int(row)] for row in rows], dtype=np.float64)
    kept = np.array([plan.keeps(value) for value in values], dtype=np.bool_)
    manifest.loc[rows, "background"] = values
    manifest.loc[rows, "kept"] = kept
    manifest.loc[rows, "reason"] = np.where(kept, "", BACKGROUND)
    bad = sorted(plan.bad)
    manifest.loc[bad, "background"] = np.nan
    manifest.loc[bad, "kept"] = False
    manifest.loc[bad, "reason"] = CORRUPT
    return manifest


def left_out_rows(slide_id: str, manifest: pd.DataFrame) -> list[dict[str, str]]:
    """Return the rows of failures.csv for corrupt tiles that were left out of a slide.

    Args:
        slide_id: The slide.
        manifest: Its finished manifest.
    """
    rows = manifest[manifest["reason"] == CORRUPT]
    return [
        {"slide": slide_id, "stage": "tile", "code": LEFT_OUT,
         "message": f"tile x={x} y={y} cannot be decoded and was left out.",
         "hint": "Without --max-bad-tiles the slide fails."}
        for x, y in zip(rows["x"], rows["y"], strict=True)
    ]  # fmt: skip


def empty_reason(plan: TilePlan, manifest: pd.DataFrame) -> tuple[str, str] | None:
    """Say why a slide has no kept tile.

    Args:
        plan: Its plan.
        manifest: Its finished manifest.

    Returns:
        None if there is a kept tile; else a code (TOO_SMALL, NO_TISSUE or NO_TILES) and one
        sentence.
    """
    if manifest["kept"].any():
        return None
    name = plan.slide.name
    if manifest.empty:
        width, height = plan.slide.dimensions
        side = plan.choice.size_level0_px(plan.spec.size_px)
        return "TOO_SMALL", (
            f"slide `{name}`: {width} x {height} px hold no whole tile of {side} px "
            f"({plan.spec.size_px} px at {plan.choice.mpp:g} um per pixel)."
        )
    return _no_tiles(name, plan, manifest)


def _no_tiles(name: str, plan: TilePlan, manifest: pd.DataFrame) -> tuple[str, str]:
    spec, background = plan.spec, manifest["background"].dropna()
    if (manifest["reason"] == ANNOTATION).all():
        return "NO_TILES", (
            f"slide `{name}`: none of {len(manifest)} tiles lies inside the drawn regions by "
            f"{1 - spec.max_background:.0%}."
        )
    covered = 0.0 if plan.mask is None else float(plan.mask.mean())
    if covered < _SPECKS and (background > 1 - _SPECKS).all():
        return "NO_TISSUE", (
            f"slide `{name}`: no tissue found (tissue={spec.tissue}): it covers {covered:.2%} of "
            f"the slide, {len(background)} of {len(manifest)} tiles were read."
        )
    text = (
        f"slide `{name}`: none of {len(manifest)} tiles has a background of at most "
        f"{spec.max_background:g}; the mask covers {covered:.1%} of the slide"
    )
    if len(background):
        shown = ", ".join(f"{value:.2f}" for value in background.quantile([0, 0.25, 0.5, 0.75, 1]))
        text += f"; quartiles of the {len(background)} tiles read: {shown}"
    return "NO_TILES", text + "."
