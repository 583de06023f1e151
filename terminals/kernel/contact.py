"""A chip on its contacts, in the order of EMV Book 3: `start` up to the first cryptogram, `complete` after the host.

Whatever a card does ends in an outcome with its reason and its TVR; only a loss of power comes out of these flows.
See docs/kernel.md; EMV Book 3 section 10, JR/T 0025.13 for electronic cash.
"""

from dataclasses import dataclass, field
from typing import Literal

from switch.wire import apdu, bits
from switch.wire.errors import WireError
from switch.wire.transactions import APPROVED
from terminals.flow import Cancelled, CardRemoved, Flow
from terminals.kernel import action, cvm, icc, oda, read, risk, scripts, select
from terminals.kernel.session import CONTACT, LOADS, SALE, Ended, Kernel, Outcome, Presented, Request, Session, exchange

_APPROVED_OFFLINE, _DECLINED_OFFLINE = b"Y1", b"Z1"
_APPROVED_UNABLE, _DECLINED_UNABLE = b"Y3", b"Z3"


@dataclass(slots=True)
class Answer:
    """What the host said: response code `arc`, None for no answer; the value of its DE55.

    `approved` where the code alone does not tell; None: by the code.
    """

    arc: str | None
    icc_data: bytes = b""
    approved: bool | None = None


@dataclass(slots=True)
class Completed:
    """How a transaction ended. `reason` is a key of REASONS.

    `reversal_needed`: the host approved and the card did not go along (or left, or its load failed). `script_results`
    is DF31, empty without scripts. `load` tells of a load: "none", "done", "failed", "doubt"; one in doubt is not
    reversed, it goes to the suspicious list. `icc_data` is DE55 of the batch upload. `balance_minor`: electronic cash
    read after a load.
    """

    outcome: Literal["approved", "declined"]
    reason: str
    reversal_needed: bool = False
    script_results: bytes = b""
    load: str = "none"
    icc_data: bytes = field(default=b"", repr=False)
    values: dict[str, bytes] = field(default_factory=dict, repr=False)
    ac: bytes = b""
    cid: int = 0
    tvr: int = 0
    tsi: int = 0
    balance_minor: int | None = None
    issuer_authenticated: bool | None = None

    @property
    def reversal_data(self) -> bytes:
        """DE55 of a reversal."""
        return icc.build(icc.REVERSAL, self.values)

    @property
    def notice_data(self) -> bytes:
        """DE55 of the script result notice; empty where no script came."""
        return icc.build(icc.NOTICE, self.values) if self.script_results else b""


def start(kernel: Kernel, request: Request) -> Flow[Presented]:
    """From selection to the first cryptogram. The outcome "online" goes on with `complete(presented.session, ...)`."""
    session = Session(kernel, request, CONTACT)
    outcome: Outcome
    try:
        yield from _open(session)
        yield from read.records(session)
        _check(session)
        yield from oda.authenticate(session)
        risk.restrict(session)
        yield from cvm.verify(session)
        yield from risk.manage(session)
        asked = yield from action.decide(session)
        if session.e_cash and asked == apdu.AC_ARQC and not session.pin and cvm.takes_online_pin(session):
            yield from cvm.online_pin_anyway(session)
        if asked == apdu.AC_TC and session.e_cash and request.keep is not None:
            request.keep(session)
        got = yield from action.generate(session, asked)
        outcome, reason = yield from _first(session, asked, got)
    except Ended as end:
        outcome, reason = end.outcome, end.reason
    except CardRemoved:
        outcome, reason = "ended", "card_removed"
    except Cancelled:
        outcome, reason = "ended", "cancelled"
    except WireError:
        outcome, reason = "ended", "data"
    session.stamp()
    data = b""
    if outcome == "online":
        data = icc.build(icc.ONLINE, session.values)
    elif outcome in ("approved", "declined"):
        data = icc.build(icc.OFFLINE, session.values)
    return session.presented(outcome, reason, data)


def _open(session: Session) -> Flow[None]:
    """Selection and GET PROCESSING OPTIONS, until an application accepts both; those that refuse are dropped."""
    request = session.request
    found = yield from select.candidates(session.kernel)
    while found:
        candidate = yield from select.choose(session, found)
        found.remove(candidate)
        fci = yield from select.open_application(session, candidate)
        if fci is None:
            continue
        cash_max = candidate.aid.e_cash_max
        takes = request.e_cash and request.type_9c == SALE and request.amount_minor > 0
        takes = takes and (cash_max is None or request.amount_minor <= cash_max)
        session.values["9F7A"] = b"\x01" if takes else b"\x00"
        sw = yield from read.initiate(session, fci.get("9F38", b""))
        if sw == apdu.OK:
            return
        if sw != apdu.NOT_SATISFIED:
            raise Ended("ended", "status")
    raise Ended("ended", session.refused)


def _check(session: Session) -> None:
    """Mandatory elements, the account, and whether the card took its electronic cash path (9F74)."""
    values = session.values
    if any(not values.get(tag) for tag in read.MANDATORY):
        raise Ended("ended", "missing")
    read.account(session)
    session.e_cash = bool(values.get("9F74")) and values["9F7A"] == b"\x01"


def _first(session: Session, asked: int, got: int) -> Flow[tuple[Outcome, str]]:
    """What the first cryptogram means. A failed CDA declines, an ARQC with a second GENERATE AC."""
    if session.tvr & bits.TVR_CDA_FAILED and got != apdu.AC_AAC and session.icc_key is not None:
        session.values["8A"] = _DECLINED_OFFLINE
        if got == apdu.AC_ARQC:
            yield from action.generate(session, apdu.AC_AAC, second=True)
        return "declined", "oda_failed"
    if got == apdu.AC_ARQC:
        return "online", ""
    if got == apdu.AC_TC:
        session.values["8A"] = _APPROVED_OFFLINE
        if session.e_cash and session.balance_minor is not None:
            session.balance_minor -= session.request.amount_minor
        return "approved", ""
    session.values["8A"] = _DECLINED_OFFLINE
    return "declined", "terminal_declined" if asked == apdu.AC_AAC else "card_declined"


def complete(session: Session, answer: Answer) -> Flow[Completed]:
    """Issuer authentication, scripts, second cryptogram. The card must still be in the reader."""
    approved = answer.arc in APPROVED if answer.approved is None else answer.approved
    done = Completed("declined", "host_declined", values=session.values)
    load = session.request.type_9c in LOADS
    brought = icc.FromIssuer(answer.icc_data)
    if answer.arc is None:
        approved = not action.default_denied(session) and session.kernel.offline_capable and not load
        session.values["8A"] = _APPROVED_UNABLE if approved else _DECLINED_UNABLE
        done.reason = "unable_online"
    else:
        session.values["8A"] = brought.arc or answer.arc.encode("ascii", "replace")[:2].ljust(2, b"0")
    try:
        if answer.arc is not None:
            yield from _authenticate(session, brought.auth, done)
            yield from _run(session, brought.before, bits.TVR_SCRIPT_BEFORE, done)
        got = yield from action.generate(session, apdu.AC_TC if approved else apdu.AC_AAC, second=True)
        if approved:
            agreed = got == apdu.AC_TC and not (session.cda and session.tvr & bits.TVR_CDA_FAILED)
            done.outcome = "approved" if agreed else "declined"
            done.reason = "" if agreed else "card_declined" if got != apdu.AC_TC else "oda_failed"
        if answer.arc is not None:
            yield from _run(session, brought.after, bits.TVR_SCRIPT_AFTER, done)
            if load and done.load == "done":
                yield from _reread(done, session.values["9F79"])
    except CardRemoved:
        _broken(done, "card_removed", approved)
    except Ended as end:
        _broken(done, end.reason, approved)
    except WireError:
        _broken(done, "data", approved)
    if brought.fault and answer.arc is not None:
        done.script_results = bytes(5)
    if load and approved and done.outcome == "approved" and done.load in ("none", "failed"):
        done.outcome, done.reason = "declined", "script_failed"
    if answer.arc is not None and approved and done.outcome == "declined" and done.load != "doubt":
        done.reversal_needed = True
    _tell(session, done)
    return done


def _broken(done: Completed, reason: str, approved: bool) -> None:
    """The dialogue broke off. After a TC the transaction stands, whatever its last scripts came to."""
    if approved and (done.outcome != "approved" or done.load == "doubt"):
        done.reason = reason


def _authenticate(session: Session, auth: bytes, done: Completed) -> Flow[None]:
    """EXTERNAL AUTHENTICATE with tag 91, where the card wants it as a command; else CDOL2 may ask for it."""
    if not auth:
        return
    session.values["91"] = auth
    if not session.aip & bits.AIP_ISSUER_AUTH:
        return
    session.tsi |= bits.TSI_ISSUER_AUTH
    sw = 0
    if 8 <= len(auth) <= 16:
        _, sw = yield from exchange(apdu.external_auth(auth))
    done.issuer_authenticated = sw == apdu.OK
    if sw != apdu.OK:
        session.tvr |= bits.TVR_ISSUER_AUTH_FAILED


def _run(session: Session, found: list[bytes], failed: int, done: Completed) -> Flow[None]:
    """Run scripts one after another; a failed one does not keep the next from running. Raises CardRemoved."""
    for script in found:
        session.tsi |= bits.TSI_SCRIPT
        ran = yield from scripts.run(script)
        done.script_results += ran.result
        if not ran.ok:
            session.tvr |= failed
        if ran.load != "none":
            done.load = ran.load
            session.values["9F79"] = ran.balance
        if ran.removed:
            raise CardRemoved


def _reread(done: Completed, wanted: bytes) -> Flow[None]:
    """After a load the balance is read again: one that is not what the script set makes the load a failed one."""
    balance = yield from read.get_data("9F79")
    done.balance_minor = read.number(balance)
    if balance is not None and balance != wanted:
        done.load = "failed"


def _tell(session: Session, done: Completed) -> None:
    """What the messages that may follow are made of."""
    if done.script_results:
        session.values["DF31"] = done.script_results
    session.stamp()
    values = session.values
    done.ac, done.cid, done.tvr, done.tsi = values.get("9F26", b""), session.cid, session.tvr, session.tsi
    done.icc_data = icc.build(icc.ONLINE, values)
