"""Import TensorFlow without its start-up notes on stderr."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _no_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def import_tensorflow() -> None:
    """Import TensorFlow and Keras; a dozen lines of notes of their C libraries stay unsaid.

    They are written before any log level can be set. What Python raises is raised.
    """
    with _no_stderr():
        import keras  # noqa: F401, PLC0415
        import tensorflow as tf  # noqa: F401, PLC0415
