"""A check that what is to be made fits into the memory of this machine."""

import os

__all__ = ["check_memory"]

# Of a weight, training holds its value, its gradient and two moments.
_COPIES = 4


def check_memory(what: str, numbers: int, copies: int = _COPIES) -> None:
    """Check the size of something before it is made.

    Without the check, making it may take minutes before the system ends the process.

    Args:
        what: str, what is to be made, for the message of the error.
        numbers: int, how many float32 numbers it has.
        copies: int, how many copies of it are held at once.

    Raises:
        MemoryError: it would take more than half of the memory of this machine.
    """
    needed = 4 * copies * numbers
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 2 * needed > present:
        raise MemoryError(
            f"{what} would take {needed / 2**30:,.0f} GiB, more than half of the "
            f"{present / 2**30:,.0f} GiB of this machine"
        )
