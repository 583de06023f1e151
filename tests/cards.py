"""Cards in a reader, for the tests of the card: commands made by hand, values as hex."""

import hashlib
from pathlib import Path

from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire import apdu, tlv
from terminals.card.card import Icc
from terminals.card.mint import Minter, read_cards
from terminals.card.state import CardState

VECTORS = Path(__file__).parent / "vectors"
AID = {"debit": "A000000333010101", "credit": "A000000333010102", "quasi_credit": "A000000333010103"}
AID["ecash"] = "A000000333010106"
TTQ = "26000080"
UN = "11223344"


def entropy(size: int) -> bytes:
    """The same bytes each time: tests have no chance in them."""
    return hashlib.shake_128(b"card tests").digest(size)


def portfolio() -> Portfolio:
    return Portfolio(7, STANDARD_ISSUERS, 2000)


def minter() -> Minter:
    return Minter(portfolio(), 7)


def icc(profile: str, interface: str = "contact", n: int = 3, state: CardState | None = None, t0: bool = False) -> Icc:
    """Card `n` of the first issuer (credit: of the third) with a chip of this profile."""
    issuers = portfolio()
    image = Minter(issuers, 7).image(issuers.card(2 if "credit" in profile else 0, n), profile)
    return Icc(image, state or image.fresh_state(), entropy, interface, t0)


def perso(interface: str = "contact", place: int = 0) -> Icc:
    """The card of the published personalisation."""
    card = read_cards(VECTORS / "card_perso_cards.toml")[place]
    image = Minter(None, 7).image(card)
    return Icc(image, image.fresh_state(), entropy, interface)


def aid_of(card: Icc) -> bytes:
    return card.image.applications[0].spec.aid


def ask(card: Icc, command: bytes, sw: int = 0x9000) -> bytes:
    """The data of an answer whose status word is the one expected."""
    data, got = apdu.split(card.transmit(command))
    assert got == sw, f"{command.hex()} answered {got:04X}"
    return data


def selected(card: Icc) -> Icc:
    ask(card, apdu.select(aid_of(card)))
    return card


def bcd(minor: int) -> bytes:
    return bytes.fromhex(f"{minor:012d}")


def tap_values(minor: int, ttq: str = TTQ, currency: str = "0156", sm: str = "", date: str = "261122") -> bytes:
    """The values of the usual contactless PDOL."""
    fixed = bytes.fromhex("000000000000" + "0156" + "0000000000" + currency + date + "00" + UN + sm)
    return bytes.fromhex(ttq) + bcd(minor) + fixed


def tapped(card: Icc, minor: int, ttq: str = TTQ, currency: str = "0156", sm: str = "") -> dict[str, bytes]:
    """The answer to GPO in the field, opened."""
    selected(card)
    return opened(ask(card, apdu.gpo(tap_values(minor, ttq, currency, sm))), "77")


def opened(data: bytes, template: str) -> dict[str, bytes]:
    [(tag, inner)] = tlv.read(data)
    assert tag == template
    items = tlv.read(inner)
    assert len({name for name, _ in items}) == len(items)
    return dict(items)


def cdol1(
    minor: int, tvr: str = "0000000000", currency: str = "0156", kind: str = "00", country: str = "0156"
) -> bytes:
    head = bcd(minor) + bytes.fromhex("000000000000" + country + tvr + currency + "261122" + kind + UN + "101112")
    return head + b"SHOP".ljust(20)


def cdol2(arc: bytes, minor: int, tvr: str = "0000000000") -> bytes:
    return arc + cdol1(minor, tvr)[:-20]


def started(card: Icc, values: bytes = b"") -> Icc:
    """A contact transaction after GPO."""
    selected(card)
    if card.image.applications[0].spec.layouts["contact"].size and not values:
        values = bytes(card.image.applications[0].spec.layouts["contact"].size)
    ask(card, apdu.gpo(values))
    return card


def first(card: Icc, kind: int, minor: int = 10000, **values: str) -> tuple[int, bytes, bytes, bytes]:
    """The first GENERATE AC: CID, ATC, cryptogram, issuer data."""
    return _parts(ask(card, apdu.generate_ac(kind, cdol1(minor, **values))))


def second(card: Icc, kind: int, arc: bytes = b"00", minor: int = 10000) -> tuple[int, bytes, bytes, bytes]:
    """The second."""
    return _parts(ask(card, apdu.generate_ac(kind, cdol2(arc, minor))))


def _parts(data: bytes) -> tuple[int, bytes, bytes, bytes]:
    assert data[0] == 0x80
    assert data[1] == len(data) - 2
    return data[2], data[3:5], data[5:13], data[13:]


def arpc(card: Icc, ac: bytes, arc: bytes = b"00") -> bytes:
    """What the issuer answers to this card's ARQC."""
    return card.session("ac").arpc(ac, arc) + arc


def online(card: Icc, minor: int = 10000) -> bytes:
    """A whole online approval; the ARQC."""
    started(card)
    cid, _, ac, _ = first(card, apdu.AC_ARQC, minor)
    assert cid == 0x80
    ask(card, apdu.external_auth(arpc(card, ac)))
    assert second(card, apdu.AC_TC, minor=minor)[0] == 0x40
    return ac


def records(card: Icc, afl: bytes) -> dict[str, bytes]:
    """Every element of the records a file locator names; none may come twice."""
    found: dict[str, bytes] = {}
    for at in range(0, len(afl), 4):
        for number in range(afl[at + 1], afl[at + 2] + 1):
            for tag, value in opened(ask(card, apdu.read_record(afl[at] >> 3, number)), "70").items():
                assert tag not in found, tag
                found[tag] = value
    return found


def static_data(card: Icc, afl: bytes, aip: bytes) -> bytes:
    """What the certificates vouch for, as a terminal gathers it."""
    parts = []
    for at in range(0, len(afl), 4):
        for number in range(afl[at + 1], afl[at + 1] + afl[at + 3]):
            answer = ask(card, apdu.read_record(afl[at] >> 3, number))
            parts.append(tlv.read(answer)[0][1] if afl[at] >> 3 <= 10 else answer)
    return b"".join(parts) + aip
