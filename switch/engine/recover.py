"""The books rebuilt from the journal. What was on its way when the switch stopped is in doubt, and is reversed."""

from collections.abc import Iterable
from typing import Any

from switch.clearing.schema import DAY, DOWNLOAD, JOURNAL, TERMINAL, UPLOAD
from switch.engine.books import STAND_IN_MTI, Exchange
from switch.engine.manage import CUT_START, unpack_key
from switch.engine.office import Office
from switch.engine.reverse import BY_TERMINAL, ReverseDesk
from switch.machine import Now, Out

_JOURNAL, _TERMINAL, _DAY, _UPLOAD = JOURNAL.names, TERMINAL.names, DAY.names, UPLOAD.names
_DOWNLOAD = DOWNLOAD.names


def recover(
    office: Office, reverse: ReverseDesk, rows: Iterable[tuple[str, tuple[Any, ...]]], now: Now, out: Out
) -> None:
    """Apply `rows` in order, then put the stored messages back and reverse what was in doubt."""
    books = office.books
    stored: dict[str, dict[str, Any]] = {}
    for table, row in rows:
        books.row_last = max(books.row_last, row[0])
        if table == "journal":
            _journal(office, dict(zip(_JOURNAL, row, strict=True)), stored)
        elif table == "terminal":
            _terminal(office, dict(zip(_TERMINAL, row, strict=True)))
        elif table == "day":
            _day(office, dict(zip(_DAY, row, strict=True)))
        elif table == "upload":
            _upload(office, dict(zip(_UPLOAD, row, strict=True)))
        elif table == "overtaken":
            _, _, tid, batch, stan = row
            reverse.remember_unknown((tid, batch, stan))
        elif table == "download":
            _download(office, dict(zip(_DOWNLOAD, row, strict=True)))
    books.rrn_last = books.row_last  # whoever was given an RRN wrote a row
    for exchange in list(books.exchanges.values()):
        _finish(office, reverse, exchange, stored.get(exchange.rrn), now, out)


def _journal(office: Office, row: dict[str, Any], stored: dict[str, dict[str, Any]]) -> None:
    books = office.books
    exchange = books.by_rrn.get(row["rrn"])
    if exchange is None:
        exchange = _open(office, row)
    state = row["state"]
    exchange.state = state
    exchange.response_code = row["response_code"]
    exchange.auth_code = row["auth_code"]
    exchange.settlement_date = row["settlement_date"]
    exchange.receiver = row["receiver"]
    if row["icc_sealed"]:
        exchange.icc = office.open_icc(row["rrn"], row["icc_sealed"])
    elif state not in ("stored", "reversal_queued", "late"):
        exchange.icc = b""
    if state in ("answered", "stored"):
        books.settle_answer(exchange)
    elif state == "reversal_queued":
        books.unsettle(exchange)
        exchange.reversal = "queued"
    elif state == "reversal_acked":
        exchange.reversal = "acked"
    elif state == "suspicious" and exchange.row.reversible:
        if not exchange.reversal:
            books.unsettle(exchange)
        exchange.reversal = "refused" if exchange.reversal else "closed"
    if row["saf_time"]:
        stored[exchange.rrn] = row
        if state == "reversal_queued":  # a stored advice keeps the number it was first sent with
            _advance(office, row["link"], row["saf_stan"])


def _open(office: Office, row: dict[str, Any]) -> Exchange:
    books = office.books
    exchange = Exchange(row["kind"], row["mid"], row["tid"], row["batch"], row["stan"])
    for name in (
        "rrn", "amount", "currency", "entry_mode", "mcc", "net_time", "net_stan", "acquirer", "forwarder",
        "pan_sealed", "pan_masked", "pan_hash", "card", "psn", "atc", "read",
    ):  # fmt: skip
        setattr(exchange, name, row[name])
    exchange.counterpart = row["link"]
    exchange.on_us = bool(row["on_us"])
    exchange.stood_in = row["net_mti"] == STAND_IN_MTI and not exchange.row.advice
    exchange.original = books.by_rrn.get(row["original_rrn"])
    books.add(exchange)
    if exchange.atc and exchange.row.chip == "offline":
        books.spend(exchange)
    _advance(office, row["link"], row["net_stan"])
    return exchange


def _advance(office: Office, link: str, stan: str) -> None:
    """Numbers go on where they stopped (by the last row, as they wrap)."""
    counterpart = office.counterparts.get(link)
    if counterpart is not None and stan:
        counterpart.stan_last = int(stan)


def _terminal(office: Office, row: dict[str, Any]) -> None:
    terminal = office.books.terminals.get(row["tid"])
    if terminal is None:
        return
    if terminal.batch_text != row["batch"]:
        terminal.open_batch(int(row["batch"]))
    terminal.signed_in = row["event"] == "sign_in"
    for name in ("pik", "mak", "tdk"):
        if row[name]:
            office.hsm.restore(unpack_key(row[name]))


def _day(office: Office, row: dict[str, Any]) -> None:
    counterpart = office.counterparts.get(row["link"])
    if counterpart is not None:
        counterpart.settlement_date = row["settlement_date"]
        counterpart.cutting_over = row["event"] == CUT_START


def _upload(office: Office, row: dict[str, Any]) -> None:
    terminal = office.books.terminals.get(row["tid"])
    if terminal is not None and terminal.batch_text == row["batch"]:
        terminal.uploaded[row["stan"]] = row["amount"]


def _download(office: Office, row: dict[str, Any]) -> None:
    terminal = office.books.terminals.get(row["tid"])
    if terminal is not None:
        terminal.fetch(row["requirement"], row["version"])


def _finish(
    office: Office, reverse: ReverseDesk, exchange: Exchange, stored: dict[str, Any] | None, now: Now, out: Out
) -> None:
    if exchange.state == "sent":
        exchange.response_code = office.counterparts[exchange.counterpart].profile.codes.no_reply
        if exchange.row.reversible:
            reverse.queue(exchange, "restart", now, out)
        elif exchange.row.advice:
            exchange.response_code = "00"
            number = office.journal(exchange, "stored", now, out, "restart", exchange.net_key)
            office.books.settle_answer(exchange)
            reverse.saf.add(exchange, "advice", exchange.net_key, now, out, after=number)
        else:
            office.journal(exchange, "answered", now, out, "restart")
    elif exchange.stood_in and exchange.reversal == "queued":
        reverse.forget(exchange, now, out)
    elif stored is not None and exchange.reversal == "queued":
        by_terminal = stored["reason"].startswith(BY_TERMINAL)
        key = (stored["saf_time"], stored["saf_stan"])
        at_ms = stored["at_ms"]
        reverse.saf.add(exchange, "reversal", key, now, out, by_terminal=by_terminal, since_ms=at_ms)
    elif exchange.state == "stored":
        at_ms = stored["at_ms"] if stored else None
        reverse.saf.add(exchange, "advice", exchange.net_key, now, out, since_ms=at_ms)
