"""The one thing that travels: an MTI and its fields."""

from typing import Any

from switch.wire.redact import masked


class Message:
    """One ISO 8583 message, decoded.

    `mti`     four digits.
    `fields`  DE number to value: str for digits, tracks and text, bytes for binary fields. Digits come without their
              pad; text keeps its spaces; a track on the POS link has `D` as its separator.
    `raw`     the body it was decoded from (from the MTI on), b"" for a message made here. MACs are checked over it.
    `pads`    DE to the pad nibble, only where it was not 0; None when there is none.

    Two messages are equal when MTI, fields and pads are. `repr` is safe to log.
    """

    __slots__ = ("fields", "mti", "pads", "raw")

    def __init__(self, mti: str, fields: dict[int, Any], raw: bytes = b"", pads: dict[int, str] | None = None) -> None:
        self.mti = mti
        self.fields = fields
        self.raw = raw
        self.pads = pads

    def get(self, de: int, default: Any = None) -> Any:
        """The value of a field, or `default` where the message does not carry it."""
        return self.fields.get(de, default)

    def __getitem__(self, de: int) -> Any:
        return self.fields[de]

    def __contains__(self, de: int) -> bool:
        return de in self.fields

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return self.mti == other.mti and self.fields == other.fields and (self.pads or {}) == (other.pads or {})

    def __repr__(self) -> str:
        return f"Message({self.mti}, {masked_fields(self.fields)})"


def masked_fields(fields: dict[int, Any]) -> dict[int, str]:
    """Every value as it may be printed: card numbers, tracks, PIN blocks and keys masked."""
    return {de: masked(de, value) for de, value in fields.items()}
