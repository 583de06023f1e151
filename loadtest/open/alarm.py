"""Waking an event loop at an instant to the tenth of a millisecond: its own timers count whole milliseconds."""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

_MONOTONIC, _NONBLOCK, _ABSOLUTE = 1, os.O_NONBLOCK, 1


class Alarm:
    """Calls `ring` on the loop once `time.perf_counter()` shows the instant of the last `set`.

    Linux: a timer descriptor beside the sockets. Elsewhere the loop's own timers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._number = -1
        self._set: Callable[..., int] | None = None
        try:
            library = ctypes.CDLL(None, use_errno=True)
            self._number = library.timerfd_create(_MONOTONIC, _NONBLOCK)
            self._set = library.timerfd_settime
        except (AttributeError, OSError):
            self._number = -1
        if self._number >= 0:
            self._times = (ctypes.c_long * 4)()
            loop.add_reader(self._number, self._rung)

    def set(self, at: float) -> None:
        """Ring at that instant of `time.perf_counter()`, in place of any set before."""
        if self._number < 0 or self._set is None:
            if self._handle is not None:
                self._handle.cancel()
            self._handle = self._loop.call_later(max(0.0, at - time.perf_counter()), self._ring)
            return
        whole = int(at)
        # perf_counter is CLOCK_MONOTONIC on Linux: the kernel takes the instant as it is
        self._times[2], self._times[3] = whole, int((at - whole) * 1e9)
        self._set(self._number, _ABSOLUTE, self._times, None)

    def _rung(self) -> None:
        try:
            os.read(self._number, 8)
        except BlockingIOError:
            return
        self._ring()

    def close(self) -> None:
        """No more ringing."""
        if self._handle is not None:
            self._handle.cancel()
        if self._number >= 0:
            self._loop.remove_reader(self._number)
            os.close(self._number)
            self._number = -1
