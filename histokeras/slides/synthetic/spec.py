"""What a procedural slide shall be."""

from dataclasses import dataclass

from histokeras.slides.synthetic.stains import StainProfile, site_profile, slide_profile
from histokeras.slides.synthetic.tiles import CLASSES

COMPOSITION = (0.08, 0.05, 0.09, 0.05, 0.13, 0.14, 0.20, 0.26)
"""Shares of the tissue in the order of ``CLASSES`` unless chosen otherwise."""
_MOST_HILUM, _MOST_HOLE, _MOST_LUMPY, _MOST_FAT_MM = 0.6, 0.8, 0.1, 2.0


@dataclass(frozen=True)
class NodeSpec:
    """A lymph node.

    Attributes:
        diameter_mm: Mean diameter.
        deposits_mm: Diameters of the tumour deposits in it.
        deposit_holes_mm: Diameters of the necrosis in the middle of the deposits, in their order;
            0, or fewer of them, for none.
        hilum_mm: Diameter of the fat inside it; 0 for none.
        touching: Whether it is pressed against the node before it.
        lumpy: How far its outline and its deposits' stray from ellipses, as a share of the radius,
            0..0.1. Deposits of lumpy nodes end at the capsule.
    """

    diameter_mm: float
    deposits_mm: tuple[float, ...] = ()
    deposit_holes_mm: tuple[float, ...] = ()
    hilum_mm: float = 0.0
    touching: bool = False
    lumpy: float = 0.0

    @property
    def holes_mm(self) -> tuple[float, ...]:
        """Diameter of the hole of each deposit, 0 for none."""
        lacking = len(self.deposits_mm) - len(self.deposit_holes_mm)
        return self.deposit_holes_mm + (0.0,) * lacking


def _require_node(node: NodeSpec) -> None:
    """Check what a node shall have beside its size."""
    if not 0 <= node.hilum_mm <= _MOST_HILUM * node.diameter_mm:
        raise ValueError(
            f"`hilum_mm` must be 0 to {_MOST_HILUM} of the node's diameter. Received: {node}"
        )
    if not 0 <= node.lumpy <= _MOST_LUMPY:
        raise ValueError(f"`lumpy` must be in [0, {_MOST_LUMPY}]. Received: {node}")
    if len(node.deposit_holes_mm) > len(node.deposits_mm) or any(
        not 0 <= hole <= _MOST_HOLE * size
        for hole, size in zip(node.holes_mm, node.deposits_mm, strict=True)
    ):
        raise ValueError(
            f"`deposit_holes_mm` must be 0 to {_MOST_HOLE} of the deposits' diameters, and no "
            f"more than there are deposits. Received: {node}"
        )


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
        outside_mm: Diameters of tumour deposits in the fat, outside the nodes.
        fat_mm: How far the fat reaches around nodes and deposits, about.
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
    outside_mm: tuple[float, ...] = ()
    fat_mm: float = 0.15
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
        self._require_nodes()

    def _require_nodes(self) -> None:
        for index, node in enumerate(self.nodes):
            if node.diameter_mm <= 0 or any(size <= 0 for size in node.deposits_mm):
                raise ValueError(f"`nodes` must have diameters > 0. Received: {node}")
            if index == 0 and node.touching:
                raise ValueError("`touching`: the first node has none before it to touch.")
            _require_node(node)
        if any(size <= 0 for size in self.outside_mm) or (self.outside_mm and not self.nodes):
            raise ValueError(
                "`outside_mm` are diameters > 0 on a slide with `nodes`. "
                f"Received: outside_mm={self.outside_mm}"
            )
        if not 0 < self.fat_mm <= _MOST_FAT_MM:
            raise ValueError(
                f"`fat_mm` must be above 0 and at most {_MOST_FAT_MM}. "
                f"Received: fat_mm={self.fat_mm}"
            )

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
