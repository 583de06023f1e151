"""What an issuer asks of its HSM about chips: is this cryptogram right, the answer to it, the MACs of a script.

Master keys stand in the Hsm under `imk/{institution}/{suite}/{use}`, use being `ac`, `mac` or `enc`. No key comes out,
of an issuer or of a card; contexts of the cards seen last are kept, as one transaction asks several times.
"""

import hmac
from collections import OrderedDict

from switch.crypto import script
from switch.crypto.cryptogram import CardKey, IssuerKey, SessionKey
from switch.crypto.hsm import Hsm

USES = ("ac", "mac", "enc")
"""Cryptograms and ARPC; MACs of scripts and of issuer application data; encipherment of a PIN change."""


def label(institution: str, suite: str, use: str) -> str:
    """Where an institution's master key stands in its Hsm."""
    return f"imk/{institution}/{suite}/{use}"


class Chip:
    """One card in one transaction: its institution, suite (`3des` or `sm4`), PAN, sequence number and ATC."""

    __slots__ = ("_atc", "_institution", "_keys", "_pan", "_psn", "_suite")

    def __init__(self, keys: "CardKeys", institution: str, suite: str, pan: str, psn: str, atc: int) -> None:
        self._keys = keys
        self._institution = institution
        self._suite = suite
        self._pan = pan
        self._psn = psn
        self._atc = atc

    def _card(self, use: str) -> CardKey:
        return self._keys.card_key(label(self._institution, self._suite, use), self._pan, self._psn)

    def _session(self, use: str) -> SessionKey:
        return self._card(use).session(self._atc)

    def verify(self, data: bytes, ac: bytes) -> bool:
        """Whether `ac` (ARQC, TC or AAC) is this card's over `data`, compared in constant time."""
        return hmac.compare_digest(self._session("ac").cryptogram(data), ac)

    def expected(self, data: bytes) -> bytes:
        """The cryptogram that would have been right: for people who look into a mismatch, not for verifying."""
        return self._session("ac").cryptogram(data)

    def arpc(self, arqc: bytes, arc: bytes) -> bytes:
        """The issuer's answer by method 1, 8 bytes; `arc` has 2. Tag 91 holds one and the other."""
        return self._session("ac").arpc(arqc, arc)

    def iad_mac(self, data: bytes) -> bytes:
        """The 4 bytes that end the issuer's discretionary data (balance, counters) in 9F10."""
        return self._session("mac").iad_mac(self._atc, data)

    def verify_iad_mac(self, data: bytes, mac: bytes) -> bool:
        """Whether the MAC of the issuer's discretionary data is right."""
        return hmac.compare_digest(self.iad_mac(data), mac)

    def script(self, ac: bytes) -> script.Script:
        """Writes commands for this card under its MAC key; `ac` is the cryptogram of the first GENERATE AC."""
        return script.Script(self._session("mac"), self._atc, ac)

    def pin_change(
        self, ac: bytes, pin_label: str, pin_format: str, block: bytes, pan: str, key_part: str = "ac"
    ) -> bytes:
        """The command that gives the card the PIN in `block`, which stays inside the Hsm on its way.

        `pin_label` and `pin_format` as for `Hsm.translate_pin`. `key_part`: whose key is crossed in, `ac` or `enc`.
        PinFormatError.
        """
        part = self._card(key_part).pin_part
        cipher = self._keys.hsm.pin_for_card(pin_label, pin_format, pan, block, self._session("enc"), part)
        return self.script(ac).command(0x84, 0x24, 0, script.CHANGE, cipher)

    def __repr__(self) -> str:
        return f"Chip({self._institution}, {self._suite})"


class CardKeys:
    """The chips of all institutions whose master keys `hsm` holds; at most `cards_max` keys of cards are kept ready."""

    __slots__ = ("_cards", "_cards_max", "hsm")

    def __init__(self, hsm: Hsm, cards_max: int = 4096) -> None:
        self.hsm = hsm
        self._cards: OrderedDict[tuple[str, str, str], tuple[IssuerKey, CardKey]] = OrderedDict()
        self._cards_max = cards_max

    def chip(self, institution: str, suite: str, pan: str, psn: str, atc: int) -> Chip:
        """One card at one ATC; KeyNotFound comes when the first question is asked."""
        return Chip(self, institution, suite, pan, psn, atc)

    def card_key(self, name: str, pan: str, psn: str) -> CardKey:
        """The key of one card under the imk called `name`, as a context; KeyNotFound."""
        issuer = self.hsm.issuer_key(name)
        where = (name, pan, psn)
        known = self._cards.get(where)
        if known is not None and known[0] is issuer:
            self._cards.move_to_end(where)
            return known[1]
        made = issuer.card(pan, psn)
        self._cards[where] = (issuer, made)
        if len(self._cards) > self._cards_max:
            self._cards.popitem(last=False)
        return made

    def __repr__(self) -> str:
        return f"CardKeys({len(self._cards)} at hand)"

    # The same questions with everything in one call.

    def verify(self, institution: str, suite: str, pan: str, psn: str, atc: int, data: bytes, ac: bytes) -> bool:
        """Whether `ac` is right; see `Chip.verify`."""
        return self.chip(institution, suite, pan, psn, atc).verify(data, ac)

    def arpc(self, institution: str, suite: str, pan: str, psn: str, atc: int, arqc: bytes, arc: bytes) -> bytes:
        """The issuer's answer, 8 bytes; see `Chip.arpc`."""
        return self.chip(institution, suite, pan, psn, atc).arpc(arqc, arc)

    def iad_mac(self, institution: str, suite: str, pan: str, psn: str, atc: int, data: bytes) -> bytes:
        """The MAC of the issuer's discretionary data; see `Chip.iad_mac`."""
        return self.chip(institution, suite, pan, psn, atc).iad_mac(data)
