"""Track encryption (磁道加密): a run of digits near the track's end replaced by its cipher text.

With n characters, the run ends one byte of the packed track before the end: 16 digits under 3DES, 32 under SM4. A
track too short for it is first filled with F on the left. Separators: `=` is packed as D, and comes back in the style
of the clear rest of the track.
"""

from typing import NamedTuple

from switch.crypto.block import BlockCipher, Transform
from switch.crypto.errors import TrackFormatError

_CHARACTERS = frozenset("0123456789ABCDEFabcdef=")


class TrackParts(NamedTuple):
    """A track cut around its encrypted run; `block` is in hexadecimal digits, `before` and `after` as they were."""

    before: str
    block: str
    after: str


def cut(track: str, block: int) -> TrackParts:
    """Cut out the run of 2 * `block` digits; TrackFormatError for characters that cannot be packed."""
    if not track or not _CHARACTERS.issuperset(track):
        raise TrackFormatError("a track holds digits and separators, and at least one character")
    digits = block * 2
    filled = track.rjust(digits + 1, "F")
    end = len(filled) - (1 if len(filled) % 2 else 2)
    run = filled[end - digits : end].upper().replace("=", "D")
    return TrackParts(filled[: end - digits], run, filled[end:])


def encrypt_track(cipher: BlockCipher, track: str) -> str:
    """The track with its run enciphered, as DE35 or DE36 carries it (DE53 digit 3 = 1)."""
    parts = cut(track, cipher.block)
    return parts.before + cipher.encrypt(bytes.fromhex(parts.block)).hex().upper() + parts.after


def decrypt_track(cipher: BlockCipher, track: str) -> str:
    """The clear track; TrackFormatError where the outcome is not one (another key, most likely)."""
    return open_track(cipher.decrypt, cipher.block, track)


def open_track(decrypt: Transform, block: int, track: str) -> str:
    """`decrypt_track` for those who hold a decipher function only."""
    parts = cut(track, block)
    if len(parts.before) + len(parts.block) + len(parts.after) != len(track):
        raise TrackFormatError("track too short to be encrypted")
    run = decrypt(bytes.fromhex(parts.block)).hex().upper()
    short = len(track) == block * 2 + 1
    clear = run.lstrip("F") if short else run
    if clear.strip("0123456789D"):
        raise TrackFormatError("encrypted part of the track does not decipher to digits")
    return parts.before + (clear.replace("D", "=") if "=" in parts.before + parts.after else clear) + parts.after
