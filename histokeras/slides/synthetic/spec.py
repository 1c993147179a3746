"""What a procedural slide shall be."""

from dataclasses import dataclass

from histokeras.slides.synthetic.stains import StainProfile, site_profile, slide_profile
from histokeras.slides.synthetic.tiles import CLASSES

COMPOSITION = (0.08, 0.05, 0.09, 0.05, 0.13, 0.14, 0.20, 0.26)
"""Shares of the tissue in the order of ``CLASSES`` unless chosen otherwise."""


@dataclass(frozen=True)
class NodeSpec:
    """A lymph node.

    Attributes:
        diameter_mm: Mean diameter.
        deposits_mm: Diameters of the tumour deposits in it.
    """

    diameter_mm: float
    deposits_mm: tuple[float, ...] = ()


@dataclass(frozen=True)
class SlideSpec:
    """A procedural slide: the same spec gives the same pixels.

    Attributes:
        seed: Seed of everything random on the slide, any whole number.
        size_px: (width, height) of level 0.
        mpp: Micrometres per pixel of level 0, 0.1 to 4.
        site: Number of the site; it sets stain and scanner, nothing else.
        cohort_seed: Seed of the sites' stains.
        architecture: Growth pattern of the tumour: 0 cohesive glands, 1 small nests.
        composition: Shares of the tissue in the order of ``CLASSES``; they need not sum to 1.
        tissue_share: Share of the slide that is tissue, 0..1.
        folds: Number of tissue folds.
        blurs: Number of spots out of focus.
        pens: Number of pen strokes.
        nodes: Lymph nodes in fat; they replace the composition.
        profile: Stain and scanner in place of the site's and slide's.
    """

    seed: int
    size_px: tuple[int, int] = (1344, 1344)
    mpp: float = 0.5
    site: int = 0
    cohort_seed: int = 0
    architecture: float = 0.0
    composition: tuple[float, ...] = COMPOSITION
    tissue_share: float = 0.7
    folds: int = 0
    blurs: int = 0
    pens: int = 0
    nodes: tuple[NodeSpec, ...] = ()
    profile: StainProfile | None = None

    def __post_init__(self) -> None:
        self._require_numbers()
        for name in ("folds", "blurs", "pens", "site"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be >= 0. Received: {name}={getattr(self, name)}")
        shares = self.composition
        if len(shares) != len(CLASSES) or min(shares) < 0 or sum(shares) <= 0:
            raise ValueError(
                f"`composition` must give a share >= 0 to each of {', '.join(CLASSES)}, and not 0 "
                f"to all. Received: composition={shares}"
            )
        for node in self.nodes:
            if node.diameter_mm <= 0 or any(size <= 0 for size in node.deposits_mm):
                raise ValueError(f"`nodes` must have diameters > 0. Received: {node}")

    def _require_numbers(self) -> None:
        if len(self.size_px) != 2 or min(self.size_px) < 16:
            raise ValueError(
                f"`size_px` is (width, height), each >= 16. Received: size_px={self.size_px}"
            )
        if not 0.1 <= self.mpp <= 4:
            raise ValueError(f"`mpp` is in um per pixel, 0.1 to 4. Received: mpp={self.mpp}")
        for name in ("architecture", "tissue_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"`{name}` must be in [0, 1]. Received: {name}={getattr(self, name)}"
                )

    @property
    def scale(self) -> float:
        """Painted pixels (0.5 um) per pixel of level 0."""
        return self.mpp / 0.5

    @property
    def painted_px(self) -> tuple[int, int]:
        """(width, height) in painted pixels of 0.5 um."""
        width, height = (max(1, round(side * self.scale)) for side in self.size_px)
        return width, height

    def stains(self) -> StainProfile:
        """Return the slide's stain and scanner."""
        if self.profile is not None:
            return self.profile
        return slide_profile(site_profile(self.site, self.cohort_seed), self.seed)
