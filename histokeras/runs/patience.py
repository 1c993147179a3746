"""When to stop a cohort altogether: the storage is lost, or the user asked to stop at a failure."""

from collections.abc import Mapping

from histokeras.errors import SlideError

IO_ERROR = "IO_ERROR"
_IN_A_ROW = 5


class FirstFailureError(SlideError):
    """A slide failed, and that was to end the work."""

    exit_code = 4


class Patience:
    """Watches how slides end.

    Args:
        fail_fast: Whether the first failed slide ends the work.
    """

    def __init__(self, *, fail_fast: bool = False) -> None:
        self._fail_fast = fail_fast
        self._io_errors = 0

    def slide(self, failed: Mapping[str, str] | None) -> None:
        """Take in how one more slide ended.

        Args:
            failed: Its row of failures.csv if it failed, else None.

        Raises:
            FirstFailureError: If it failed and that ends the work (exit code 4).
            SlideError: IO_ERROR if five in a row could not be read for reasons of the storage.
        """
        if failed is None or failed["code"] != IO_ERROR:
            self._io_errors = 0
        else:
            self._io_errors += 1
        if self._io_errors == _IN_A_ROW:
            assert failed is not None
            raise SlideError(
                f"{_IN_A_ROW} slides in a row could not be read, the last: {failed['message']}",
                code=IO_ERROR,
                hint="Is the storage lost? Run the same command to resume once it is back.",
            )
        if failed is not None and self._fail_fast:
            raise FirstFailureError(
                f"{failed['code']} {failed['message']}",
                code=failed["code"],
                hint=f"{failed['hint']} --fail-fast ended the work here; the same command without "
                "it goes on.",
            )
