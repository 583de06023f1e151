"""Python's garbage collector while load is made: it looks at what is new, and seldom."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SELDOM: Final = (20_000, 50, 1_000)


@contextmanager
def collected_seldom() -> Iterator[None]:
    """What stands before a run is not looked through again and again during it. Restores what was."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
