"""Small files as scanners write them, made in code."""

from pathlib import Path

import numpy as np
import tifffile

from histokeras.slides.source import Image

_NDPI_TAGS = (
    (65420, "I", 1, 1, True),
    (65422, "i", 1, 0, True),
    (65423, "i", 1, 0, True),
    (65424, "i", 1, 0, True),
)


def write_svs(path: Path, image: Image, *, mpp: str = "0.5", power: str = "20") -> None:
    """Write level 0 and a half-size level under the header of an Aperio file."""
    description = f"Aperio Image Library v11\r\n(128x128) JPEG/RGB Q=70|AppMag = {power}"
    description += f"|MPP = {mpp}" if mpp else ""
    with tifffile.TiffWriter(path) as writer:
        for pixels in (image, image[::2, ::2]):
            writer.write(
                pixels,
                tile=(128, 128),
                photometric="rgb",
                compression="jpeg",
                description=description,
                metadata=None,
                software=False,
            )


def write_ndpi(path: Path, image: Image) -> None:
    """Write two levels as Hamamatsu does: one JPEG strip each, private tags, 0.5 um per pixel."""
    with tifffile.TiffWriter(path) as writer:
        for factor in (1, 2):
            pixels = np.ascontiguousarray(image[::factor, ::factor])
            writer.write(
                pixels,
                rowsperstrip=len(pixels),
                photometric="rgb",
                compression="jpeg",
                metadata=None,
                software=False,
                extratags=[*_NDPI_TAGS, (65421, "f", 1, 20.0 / factor, True)],
                resolution=(20_000 / factor,) * 2,
                resolutionunit="CENTIMETER",
            )


def write_tiff(path: Path, image: Image, *, bigtiff: bool = False, tile: int = 128) -> None:
    """Write two levels as a generic tiled TIFF, 0.5 um per pixel."""
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
        for factor in (1, 2):
            writer.write(
                image[::factor, ::factor],
                tile=(tile, tile),
                photometric="rgb",
                compression="jpeg",
                subfiletype=int(factor > 1),
                metadata=None,
                software=False,
                resolution=(20_000 / factor,) * 2,
                resolutionunit="CENTIMETER",
            )


def forge(path: Path, tag: str, value: int, *, page: int = 0, index: int = 0) -> None:
    """Overwrite one number of a tag of a TIFF in place."""
    with tifffile.TiffFile(path, is_ndpi=False) as tiff:
        found = tiff.pages[page].tags[tag]
        size = {"SHORT": 2, "LONG": 4, "LONG8": 8}[found.dtype.name]
        where, order = found.valueoffset + index * size, tiff.byteorder
    data = bytearray(path.read_bytes())
    data[where : where + size] = value.to_bytes(size, "little" if order == "<" else "big")
    path.write_bytes(data)


def spoil_tile(path: Path, index: int, *, page: int = 0) -> None:
    """Overwrite one stored tile with zeros."""
    with tifffile.TiffFile(path, is_ndpi=False) as tiff:
        start = tiff.pages[page].dataoffsets[index]
        size = tiff.pages[page].databytecounts[index]
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
