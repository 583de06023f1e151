"""DE55 by transaction: which elements go into which message, in the order terminals in the field emit."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from switch.wire import tlv
from switch.wire.errors import TlvError

SIZE_MAX: Final = 255

_SALE: Final = (
    "9F26 9F27 9F10 9F37 9F36 95 9A 9C 9F02 5F2A 82 9F1A 9F03 9F33 9F34 9F35 9F1E 84 9F09 9F41 9F63 DF32 DF33 DF34"
)


class _Plan:
    """Elements in their order: `tags`, and as many times nothing. `form(lengths)` is what values of these lengths are
    put into: tags and lengths stand in it."""

    __slots__ = ("form", "nothing", "tags")

    def __init__(self, tags: str) -> None:
        self.tags = tuple(tags.split())
        self.nothing = (b"",) * len(self.tags)
        heads = [bytes.fromhex(tag) for tag in self.tags]

        @lru_cache(maxsize=256)  # cards of a kind give the same lengths
        def form(lengths: tuple[int, ...]) -> bytes:
            return b"".join(
                (head + tlv.written_size(size)).replace(b"%", b"%%") + b"%b" if size else b"%b"
                for head, size in zip(heads, lengths, strict=True)
            )

        self.form = form


ONLINE: Final = _Plan(_SALE)
"""Sale, pre-authorization, balance, load: what the issuer checks the ARQC with. Also the batch upload (0320)."""
OFFLINE: Final = _Plan(_SALE + " 9F74 8A")
"""An offline approval or decline: uploaded with its TC, or its AAC."""
REVERSAL: Final = _Plan("95 9F1E 9F10 9F36 DF31")
COUNT: Final = _Plan("9F1E 9F36")
"""A reversal before the card has said anything to the answer: the terminal's number, the card's count."""
E_CASH_CODE: Final = b"ECC001"
"""9F74 where the record with it was lost: what pays offline in the field is electronic cash."""
NOTICE: Final = _Plan("9F33 95 9F37 9F1E 9F10 9F26 9F36 82 DF31 9F1A 9A")
"""The script result notice (0620)."""


def build(plan: _Plan, values: Mapping[str, bytes]) -> bytes:
    """The DE55 of a message out of a transaction's values; what is absent or empty is left out.

    Elements that would not fit into 255 bytes are left out too: the mandatory ones stand first.
    """
    found = tuple(map(values.get, plan.tags, plan.nothing))
    data: bytes = plan.form(tuple(map(len, found))) % found
    if len(data) <= SIZE_MAX:
        return data
    data = b""
    for tag, value in zip(plan.tags, found, strict=True):
        part = tlv.write([(tag, value)] if value else [])
        if len(data) + len(part) <= SIZE_MAX:
            data += part
    return data


class FromIssuer:
    """What an answer's DE55 brings: `auth` (91), `arc` (8A), scripts `before` (71) and `after` (72) the second AC.

    `fault`: the data do not read; then nothing of them is used.
    """

    __slots__ = ("after", "arc", "auth", "before", "fault")

    def __init__(self, data: bytes) -> None:
        self.auth = self.arc = b""
        self.before: list[bytes] = []
        self.after: list[bytes] = []
        self.fault = False
        try:
            items = tlv.read(data)
        except TlvError:
            self.fault = True
            return
        for tag, value in items:
            if tag == "91" and value:
                self.auth = value
            elif tag == "8A" and len(value) == 2:
                self.arc = value
            elif tag == "71" and value:
                self.before.append(value)
            elif tag == "72" and value:
                self.after.append(value)
