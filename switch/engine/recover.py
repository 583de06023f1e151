"""The books rebuilt from the journal. What was on its way when the switch stopped is in doubt, and is reversed."""

from collections.abc import Iterable
from typing import Any

from switch.clearing.schema import DAY, DOWNLOAD, JOURNAL, TERMINAL, UPLOAD
from switch.engine.books import Exchange
from switch.engine.manage import CUT_START, unpack_key
from switch.engine.office import Office
from switch.engine.reverse import BY_TERMINAL, ReverseDesk
from switch.machine import Now, Out

_JOURNAL, _TERMINAL, _DAY, _UPLOAD = JOURNAL.names, TERMINAL.names, DAY.names, UPLOAD.names
_DOWNLOAD = DOWNLOAD.names
_FIRST = frozenset(("sent", "refused", "stored"))
"""States that a transaction's first row may have."""


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
    for rrn, last in sorted(stored.items(), key=lambda one: int(one[1]["number"])):  # in the order they were stored in
        if rrn in books.by_rrn:
            _put_back(reverse, books.by_rrn[rrn], last, now, out)
    for exchange in list(books.exchanges.values()):
        if exchange.state == "sent":
            _in_doubt(office, reverse, exchange, now, out)


def _journal(office: Office, row: dict[str, Any], stored: dict[str, dict[str, Any]]) -> None:
    books, state = office.books, row["state"]
    exchange = books.find_rrn(row["rrn"])
    if exchange is not None:
        exchange.take(row)
    elif state in _FIRST:
        exchange = _open(office, row)
    else:
        return  # a late word about what was forgotten
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
    exchange = Exchange.of_row(row)
    exchange.original = books.find_rrn(row["original_rrn"]) if row["original_rrn"] else None
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
        office.books.close_batch(row["tid"], row["at_ms"], office.limits.keep_ms)
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


def _put_back(reverse: ReverseDesk, exchange: Exchange, stored: dict[str, Any], now: Now, out: Out) -> None:
    """What was stored and perhaps not taken, by its last row that says so."""
    since_ms = stored["at_ms"]
    if exchange.stood_in and exchange.reversal == "queued":
        reverse.forget(exchange, now, out)
    elif exchange.reversal == "queued":
        by_terminal = stored["reason"].startswith(BY_TERMINAL)
        key = (stored["saf_time"], stored["saf_stan"])
        reverse.saf.add(exchange, "reversal", key, now, out, by_terminal=by_terminal, since_ms=since_ms)
    elif exchange.state == "stored":
        reverse.saf.add(exchange, "advice", exchange.net_key, now, out, since_ms=since_ms)


def _in_doubt(office: Office, reverse: ReverseDesk, exchange: Exchange, now: Now, out: Out) -> None:
    """What was sent, and nobody knows its end."""
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
