"""What can be wrong with keys, PIN blocks and MACs. No message ever holds a key, a PIN, a block, a track or a PAN."""


class CryptoError(ValueError):
    """Root of this room's errors: a wrong length, a key used for another purpose, an unknown suite."""


class KeyNotFound(CryptoError):
    """No key stands under this label."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label

    def __str__(self) -> str:
        return f"no key under label {self.label!r}"


class KcvMismatch(CryptoError):
    """A key arrived whose check value (校验值) is not the one sent with it; the label keeps its former key."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label

    def __str__(self) -> str:
        return f"check value of key {self.label!r} does not match"


class PinFormatError(CryptoError):
    """A PIN block that does not read as its format says (response code 99), or a PIN or PAN that fits no block."""


class TrackFormatError(CryptoError):
    """A track with characters that cannot be packed, or too short to hold its encrypted part."""


class MacMismatch(CryptoError):
    """A message whose MAC is not ours (response code A0)."""


class KeyBlockError(CryptoError):
    """A stored key that does not open under this local master key, or not as what its record claims to be."""
