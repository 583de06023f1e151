"""Ground room: bytes to values and back. Knows no key, no clock and no socket."""
