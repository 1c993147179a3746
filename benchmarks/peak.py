"""The largest memory of a process."""

import resource
import sys

_MIB = 1 << 20


def peak_mib() -> float:
    """Return the largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return float(peak / (_MIB if sys.platform == "darwin" else 1 << 10))
