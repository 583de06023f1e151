"""Back-pressure: a peer that does not read is not read from, and is cut off when it still owes us too much."""

import asyncio

HIGH_WATER = 64 * 1024
HARD_LIMIT = 1024 * 1024


class Pressure:
    """Watches one transport's write buffer.

    While it is over its high-water mark the peer's own bytes are left unread; over the hard limit the connection is
    aborted, so that one peer can hold no more than HARD_LIMIT bytes of ours. `paused` stands while it is over the mark.
    """

    __slots__ = ("_held", "_transport", "paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.paused = self._held = False
        transport.set_write_buffer_limits(high=HIGH_WATER)

    def pause_writing(self) -> None:
        self.paused = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.paused = False
        if not self._held and not self._transport.is_closing():
            self._transport.resume_reading()

    def hold(self, held: bool) -> None:
        """Leave the peer's bytes unread for another reason than its own not reading, or no longer."""
        if held == self._held:
            return
        self._held = held
        if self._transport.is_closing() or self.paused:
            return
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def overrun(self) -> bool:
        """After a write while `paused`: whether the peer has to be cut off."""
        return self._transport.get_write_buffer_size() > HARD_LIMIT
