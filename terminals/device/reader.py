"""What a terminal reads chips with: its kernel, its calendar, and what downloads have told it.

The reader lasts as the terminal does: a download puts new parameters into it, and the next transaction finds them.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from terminals.kernel.session import CONTACT, CONTACTLESS, SALE, Kernel, Request

__all__ = ["CONTACT", "CONTACTLESS", "ENTRIES", "Clock", "Reader"]

Clock = Callable[[], tuple[str, str]]
"""The terminal's calendar: date YYMMDD and time HHMMSS."""

ENTRIES: Final = {CONTACT: "05", CONTACTLESS: "07"}
"""DE22, first two digits, by interface."""

_CODES: Final = {"170000": 0x63, "640000": 0x60}
"""9C where it is not the head of DE3: the void of a cash load and a take-up are loads to the card."""


class Reader:
    """`kernel` may be shared by terminals alike; `contactless` says that it has a field (DE60.4 is 6, else 5).

    `small_max` is up to what this merchant asks no PIN of small contactless sales (双免), 0 where it does not take
    part; `small_bins` the cards that may, `never_small` those that may not all the same. `failures` counts chips in a
    row that could not be read. `offline_max`: certificates kept; with that many nothing is approved offline.
    """

    __slots__ = (
        "clock", "contactless", "failures", "kernel", "never_small", "offline_max", "small_bins", "small_max",
    )  # fmt: skip

    def __init__(
        self,
        kernel: Kernel,
        clock: Clock,
        *,
        contactless: bool = True,
        small_max: int = 0,
        small_bins: Iterable[str] = (),
        never_small: Iterable[str] = (),
        offline_max: int = 200,
    ) -> None:
        self.kernel = kernel
        self.clock = clock
        self.contactless = contactless
        self.small_max = small_max
        self.small_bins = frozenset(small_bins)
        self.never_small = frozenset(never_small)
        self.failures = 0
        self.offline_max = offline_max

    @property
    def capability(self) -> str:
        """DE60.4: what this terminal can read."""
        return "6" if self.contactless else "5"

    def request(
        self,
        processing_code: str,
        amount_minor: int,
        merchant_name: str,
        sequence: int,
        *,
        force_online: bool = False,
        e_cash: bool = True,
        holder: Any = None,
        keep: Callable[[Any], None] | None = None,
    ) -> Request:
        """What the kernel is asked to do for a transaction of this DE3."""
        type_9c = _CODES.get(processing_code, int(processing_code[:2], 16))
        date, time = self.clock()
        force_online = force_online or type_9c != SALE
        return Request(
            amount_minor,
            date,
            time,
            type_9c=type_9c,
            merchant_name=merchant_name,
            sequence=sequence,
            force_online=force_online,
            e_cash=e_cash and not force_online,  # its denial codes refuse what is forced online
            enrolled=self.small_max > 0,
            small_max=self.small_max,
            small_bins=self.small_bins,
            never_small=self.never_small,
            holder=holder,
            keep=keep,
        )

    def __repr__(self) -> str:
        return f"Reader({'contact and field' if self.contactless else 'contact'}, {self.failures} failures)"
