"""Reading electronic cash: balance and limits, the log of payments and of loads (JR/T 0025.13)."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from switch.wire import apdu, bits, dol, tlv
from switch.wire.errors import WireError
from terminals.flow import Cancelled, CardRemoved, Flow
from terminals.kernel import read, select
from terminals.kernel.session import CONTACT, CONTACTLESS, Ended, Kernel, Request, Session, exchange

_MINOR: Final = (("balance_minor", "9F79"), ("limit_minor", "9F77"), ("single_minor", "9F78"), ("reset_minor", "9F6D"))
_NOWHERE: Final = Request(0, "000101", "000000")


@dataclass(slots=True)
class Purse:
    """What a card tells of its electronic cash; None for what it does not. `reason` as in a Presented, "" if read.

    `payments` and `loads` are the log's entries, latest first: tag to value by the card's own format. A load has its
    tag P1P2 under "tag" and the balances "before" and "after".
    """

    reason: str = ""
    balance_minor: int | None = None
    limit_minor: int | None = None
    single_minor: int | None = None
    reset_minor: int | None = None
    payments: tuple[dict[str, bytes], ...] = ()
    loads: tuple[dict[str, bytes], ...] = ()


class Identified(NamedTuple):
    """Whose chip it is: number, expiry YYMM, track 2 equivalent, number of the card; `reason` where it does not say."""

    reason: str
    pan: str = ""
    expiry: str = ""
    track2: str = ""
    psn: str = ""

    def __repr__(self) -> str:
        return f"Identified({self.reason})"


def identify(kernel: Kernel, interface: str = CONTACT) -> Flow[Identified]:
    """Select the card's application and read its records: no cryptogram is asked for on contacts.

    In the field the card decides with its processing options, and is asked for a cryptogram that pays nothing.
    """
    session, reason = Session(kernel, _NOWHERE, interface), ""
    session.values["9F66"] = (kernel.ttq | bits.TTQ_CRYPTOGRAM).to_bytes(4, "big")
    session.values["9F7A"] = b"\x00"
    try:
        found = yield from (select.tap_candidates if interface == CONTACTLESS else select.candidates)(kernel)
        sw = 0
        while found and sw != apdu.OK:
            candidate = yield from select.choose(session, found)
            found.remove(candidate)
            fci = yield from select.open_application(session, candidate)
            if fci is not None:
                sw = yield from read.initiate(session, fci.get("9F38", b""))
        if sw != apdu.OK:
            raise Ended("ended", session.refused)
        if session.afl:
            yield from read.records(session)
        read.account(session)
    except Ended as end:
        reason = end.reason
    except CardRemoved:
        reason = "card_removed"
    except Cancelled:
        reason = "cancelled"
    except WireError:
        reason = "data"
    if reason:
        return Identified(reason)
    psn = session.values["5F34"].hex() if "5F34" in session.values else ""
    return Identified("", session.pan, session.expiry, session.track2, psn)


def purse(kernel: Kernel, interface: str = CONTACT, logs: bool = False) -> Flow[Purse]:
    """Select the card's application and read its purse, with `logs` its logs too. Changes nothing on the card."""
    session, told = Session(kernel, _NOWHERE, interface), Purse()
    try:
        found = yield from (select.tap_candidates if interface == CONTACTLESS else select.candidates)(kernel)
        fci = None
        while found and fci is None:
            candidate = yield from select.choose(session, found)
            found.remove(candidate)
            fci = yield from select.open_application(session, candidate)
        if fci is None:
            raise Ended("ended", session.refused)
        for name, tag in _MINOR:
            setattr(told, name, read.number((yield from read.get_data(tag))))
        if logs:
            entries = dict(tlv.read(fci.get("BF0C", b"")))
            told.payments = yield from _log(entries.get("9F4D", b""), "9F4F", 0)
            told.loads = yield from _log(entries.get("DF4D", b""), "DF4F", 14)
    except Ended as end:
        told.reason = end.reason
    except CardRemoved:
        told.reason = "card_removed"
    except Cancelled:
        told.reason = "cancelled"
    except WireError:
        told.reason = "data"
    return told


def _log(entry: bytes, form_tag: str, head: int) -> Flow[tuple[dict[str, bytes], ...]]:
    """The records of a log file; `head` bytes before the format's data are a load's tag and two balances."""
    form = yield from read.get_data(form_tag)
    if len(entry) != 2 or not form:
        return ()
    found: list[dict[str, bytes]] = []
    for record in range(1, entry[1] + 1):
        data, sw = yield from exchange(apdu.read_record(entry[0], record))
        if sw != apdu.OK or len(data) < head:
            break
        values = dol.split(form, data[head:])
        if head:
            values |= {"tag": data[:2], "before": data[2:8], "after": data[8:14]}
        found.append(values)
    return tuple(found)
