"""What a run was made with: versions, processor, threads. No names of people or machines."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

_PACKAGES = (
    "histokeras", "tensorflow", "keras", "numpy", "pandas", "scikit-learn", "scipy", "h5py",
    "openslide-python", "openslide-bin", "pillow", "tifffile", "safetensors",
)  # fmt: skip
_INSTRUCTIONS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "amx_tile", "asimd")


def package_version(name: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that touches the numbers."""
    found = {name: package_version(name) for name in _PACKAGES}
    python = {"python": platform.python_version()}
    return python | {name: version for name, version in found.items() if version}


def hardware() -> dict[str, object]:
    """Return the processor's kind, its vector instructions and the number of usable cores.

    The last bits of a network's output depend on the instructions and the number of threads.
    """
    flags: set[str] = set()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                flags = set(value.split())
            elif key.strip() == "model name":
                model = value.strip()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": model,
        "instructions": [name for name in _INSTRUCTIONS if name in flags],
        "cores": usable_cores(),
        "python_bits": 64 if sys.maxsize > 2**32 else 32,
    }


def usable_cores() -> int:
    """Return how many cores this process may use; SLURM and containers may give a part."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
