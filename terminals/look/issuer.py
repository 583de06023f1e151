"""An issuer that stands in for a host: verifies a cryptogram, answers it, and says why one does not verify."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

from switch.crypto import mismatch, script
from switch.crypto.cryptogram import CardKey, IssuerKey, SessionKey, ac_input, suite_of_iad
from switch.crypto.errors import CryptoError
from switch.wire import tlv
from terminals.kernel.contact import Answer
from terminals.look.chosen import Issued

Arpc = Literal["good", "wrong", "none"]
UNVERIFIED: Final = "05"
"""What an issuer answers to a cryptogram that is not right."""

SCRIPTS: Final = ("app-block", "app-unblock", "card-block", "pin-unblock")
"""Commands of an issuer script by name; PUT DATA is asked for as TAG=HEX."""

_SCRIPT_ID: Final = b"\x00\x00\x00\x01"
_ABSENT: Final = (("9F02", 6), ("9F03", 6), ("9F1A", 2), ("95", 5), ("5F2A", 2), ("9A", 3), ("9C", 1), ("9F37", 4))


class Load(NamedTuple):
    """A load (圈存): what the card told of its purse, and what is added; minor units."""

    balance_minor: int
    amount_minor: int


class Verdict(NamedTuple):
    """What the issuer found. `data` is what the cryptogram covers, `expected` what it should have been.

    `difference` is the first byte that differs, -1 if none; `cause` the mistake that explains it, if one does.
    `iad_mac`: whether the MAC of the issuer's discretionary data is right, None without one. `fault`: why nothing could
    be verified. `arpc` is empty where none was made.
    """

    verified: bool
    suite: str = "3des"
    atc: int = 0
    data: bytes = b""
    expected: bytes = b""
    presented: bytes = b""
    difference: int = -1
    cause: mismatch.Cause | None = None
    iad_mac: bool | None = None
    arc: str = ""
    arpc: bytes = b""
    fault: str = ""


def covered(values: Mapping[str, bytes]) -> dict[str, bytes]:
    """The values a cryptogram may cover, as both sides count them: what nobody asked for is zeros.

    In the field the card's lists say which; a tap covers TVR zeros, as the terminal has none to tell.
    """
    return {tag: values.get(tag, bytes(size)) for tag, size in _ABSENT} | {
        tag: values.get(tag, bytes(2)) for tag in ("82", "9F36")
    }


def session_of(issued: Issued, suite: str, use: str, atc: int) -> SessionKey:
    """The session key of a card at one ATC as its issuer makes it. Raises CryptoError."""
    key = issued.key(suite, use)
    card = CardKey(suite, key) if issued.derived else IssuerKey(suite, key).card(issued.pan, issued.psn)
    return card.session(atc)


def judge(issued: Issued, values: Mapping[str, bytes]) -> Verdict:
    """Whether the cryptogram in `values` (9F26, of 9F10, 9F36 and what it covers) is this card's."""
    iad, presented = values.get("9F10", b""), values.get("9F26", b"")
    atc = int.from_bytes(values.get("9F36", b""), "big")
    try:
        suite = suite_of_iad(iad)
        data = ac_input(iad[2] if len(iad) > 2 else 0, values, iad)
        expected = session_of(issued, suite, "ac", atc).cryptogram(data)
        found = Verdict(expected == presented, suite, atc, data, expected, presented)
        if not found.verified:
            found = found._replace(difference=mismatch.first_difference(expected, presented))
            found = found._replace(cause=_cause(issued, found, values, iad))
        if len(iad) > 12 and len(iad) >= 9 + iad[8]:
            told, mac = iad[10 : 5 + iad[8]], iad[5 + iad[8] : 9 + iad[8]]
            found = found._replace(iad_mac=session_of(issued, suite, "mac", atc).iad_mac(atc, told) == mac)
    except (CryptoError, KeyError) as fault:
        return Verdict(False, atc=atc, presented=presented, fault=str(fault) or type(fault).__name__)
    return found


def _cause(issued: Issued, found: Verdict, values: Mapping[str, bytes], iad: bytes) -> mismatch.Cause | None:
    if issued.derived:
        return None  # the usual mistakes are mistakes of derivation, which these keys have behind them
    key = issued.key(found.suite, "ac")
    given = mismatch.Presented(
        found.suite, key, issued.pan, issued.psn, found.atc, covered(values), iad, found.presented
    )
    return mismatch.likely_cause(given)


def answer(
    issued: Issued, verdict: Verdict, arc: str | None, how: Arpc, wanted: Iterable[str] = (), load: Load | None = None
) -> tuple[Answer, Verdict]:
    """What the host says: `arc` (None: nothing), with an ARPC that is right, wrong in one bit, or not there.

    `wanted`: commands of an issuer script (`read_script`); `load` adds the one that sets the purse, to an approval.
    """
    if arc is None:
        return Answer(None), verdict
    if not verdict.verified:
        return Answer(UNVERIFIED), verdict._replace(arc=UNVERIFIED)
    code = arc.encode("ascii")
    items: list[tuple[str, bytes]] = []
    arpc = b""
    if how != "none":
        arpc = session_of(issued, verdict.suite, "ac", verdict.atc).arpc(verdict.presented, code)
        if how == "wrong":
            arpc = bytes((arpc[0] ^ 1,)) + arpc[1:]
        items.append(("91", arpc + code))
    commands = list(_commands(issued, verdict, wanted, load if arc == "00" else None))
    data = tlv.write(items) + (script.template(commands, _SCRIPT_ID) if commands else b"")
    return Answer(arc, data), verdict._replace(arc=arc, arpc=arpc)


def read_script(text: str) -> str:
    """A command of an issuer script as one asks for it: one of SCRIPTS, or `TAG=HEX`. ValueError."""
    if text in SCRIPTS:
        return text
    tag, _, value = text.partition("=")
    if len(tag) not in (2, 4) or not value or len(bytes.fromhex(tag) + bytes.fromhex(value)) > 64:
        raise ValueError(f"{', '.join(SCRIPTS)}, or TAG=HEX")
    return text


def _commands(issued: Issued, verdict: Verdict, wanted: Iterable[str], load: Load | None) -> Iterator[bytes]:
    writer = script.Script(session_of(issued, verdict.suite, "mac", verdict.atc), verdict.atc, verdict.presented)
    if load is not None:
        yield writer.put_data("9F79", bytes.fromhex(f"{load.balance_minor + load.amount_minor:012d}"))
    plain = {
        "app-block": writer.app_block,
        "app-unblock": writer.app_unblock,
        "card-block": writer.card_block,
        "pin-unblock": writer.pin_unblock,
    }
    for text in wanted:
        tag, _, value = text.partition("=")
        yield plain[text]() if text in plain else writer.put_data(tag, bytes.fromhex(value))
