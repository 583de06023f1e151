"""The desk for 0500 and 0320: a terminal's totals beside the switch's own, then its batch, item by item.

Settlement is a check: money moves by the network's settlement date, whether or not a terminal ever settles.
"""

from typing import Any

from switch.engine import admit
from switch.engine.books import Exchange, Terminal
from switch.engine.office import Office
from switch.machine import Link, Now, Out
from switch.wire import tlv
from switch.wire.errors import DecodeError, TlvError, WireError
from switch.wire.framing import Frame
from switch.wire.message import Message
from switch.wire.private_62 import read_chip_detail, read_chip_notice
from switch.wire.private_pos import Side, Totals, read_details, read_totals, write_totals
from switch.wire.transactions import ADMIN_MANDATORY

BALANCED, UNBALANCED = 1, 2
UNBALANCED_END = "202"
ENDS = frozenset((UNBALANCED_END, "207"))
CHIP_NOTICES = frozenset(("204", "206"))
CHIP_ITEMS = CHIP_NOTICES | {"203", "205"}
ISSUER_NOT_AUTHENTICATED = "05"
"""Reason of a chip notice: ARPC wrong, approved all the same."""
CHIP_DECLINED = "chip_declined"


class ReconcileDesk:
    """Settlement and batch upload."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def on_request(self, link: Link, frame: Frame, message: Message, now: Now, out: Out) -> None:
        """A 0500 or 0320 of a terminal. They carry no MAC; the batch must be the open one."""
        office, fields = self._office, message.fields
        terminal, code = admit.known(office, message)
        network_code = fields.get(60, "")[8:11]
        mandatory = ADMIN_MANDATORY.get((message.mti, network_code))
        if not code:
            code = admit.whole(message, mandatory) if mandatory else admit.FORMAT_ERROR
        if not code and terminal is not None:
            code = admit.in_batch(message, terminal) or ("" if terminal.signed_in else admit.MUST_SIGN_IN)
        if code or terminal is None:
            office.statistics.refused += 1
            office.answer(link, frame, message.mti, fields, code, now, out)
            return
        try:
            if message.mti == "0500":
                self._settle(link, frame, message, terminal, now, out)
            elif network_code in ENDS:
                self._end(link, frame, message, terminal, now, out)
            else:
                self._item(link, frame, message, terminal, network_code, now, out)
        except WireError:
            office.answer(link, frame, message.mti, fields, admit.FORMAT_ERROR, now, out)

    def _settle(self, link: Link, frame: Frame, message: Message, terminal: Terminal, now: Now, out: Out) -> None:
        """0500: compare DE48 with the batch; an unbalanced answer carries the host's totals."""
        office, fields = self._office, message.fields
        theirs = read_totals(fields[48])
        ours = Side(*office.books.totals(terminal.tid, terminal.batch_text))
        same = theirs.domestic[:4] == ours[:4] and not any(theirs.foreign[:4])
        result = BALANCED if same else UNBALANCED
        domestic = (theirs.domestic if same else ours)._replace(result=result)
        totals = Totals(domestic, theirs.foreign._replace(result=BALANCED))
        office.statistics.settlements += 1
        office.statistics.settlements_unbalanced += not same
        number = self._post(terminal, "totals", theirs.domestic, ours, str(result), now, out)
        extra = {15: office.local(now)[1], 37: office.books.next_rrn(office.local(now)[2]), 48: write_totals(totals)}
        if 63 in fields:
            extra[63] = fields[63]
        office.answer(link, frame, message.mti, fields, "00", now, out, extra, number)

    def _item(
        self, link: Link, frame: Frame, message: Message, terminal: Terminal, network_code: str, now: Now, out: Out
    ) -> None:
        """0320: stripe details by eight (201), a chip's (203 to 206), or a notice-class transaction as it was (000)."""
        fields = message.fields
        number = 0
        if network_code in CHIP_ITEMS:
            number = self._chip(terminal, fields, network_code, now, out)
        elif network_code == "201":
            for detail in read_details(fields[48]):
                number = self._compare(terminal, detail.stan, detail.amount_minor, now, out)
        else:
            number = self._compare(terminal, fields[11], int(fields[4]), now, out)
        extra = {48: fields[48]} if 48 in fields else {}
        self._office.answer(link, frame, message.mti, fields, "00", now, out, extra, number)

    def _chip(self, terminal: Terminal, fields: dict[int, Any], network_code: str, now: Now, out: Out) -> int:
        """A chip's item: approved online (203, 205), or a notice (204, 206) of what the chip made of it.

        A transaction approved although the issuer did not authenticate itself (reason 05) stands in the batch; one that
        the chip declined stands in none and is only noted, once.
        """
        try:
            tlv.read(fields[55])
        except TlvError as error:
            raise DecodeError(55, error.offset or 0, error.reason) from None
        if network_code in CHIP_NOTICES:
            notice = read_chip_notice(fields[62])
            if notice.reason != ISSUER_NOT_AUTHENTICATED:
                if terminal.uploaded.get(fields[11]) == notice.amount_minor:
                    return 0
                terminal.uploaded[fields[11]] = notice.amount_minor
                return self._upload(terminal, fields[11], notice.amount_minor, CHIP_DECLINED, now, out)
            amount = notice.amount_minor
        else:
            amount = read_chip_detail(fields[62]).amount_minor
        return self._compare(terminal, fields[11], amount, now, out)

    def _end(self, link: Link, frame: Frame, message: Message, terminal: Terminal, now: Now, out: Out) -> None:
        """0320/202 or 207: name what was not uploaded, close the batch; the next sign-in names the new one."""
        office, fields = self._office, message.fields
        batch = terminal.batch_text
        if fields[60][8:11] == UNBALANCED_END:
            for item in self._items(terminal):
                if item.stan not in terminal.uploaded:
                    self._upload(terminal, item.stan, item.amount, "host_only", now, out)
        ours = Side(*office.books.totals(terminal.tid, batch))
        self._post(terminal, "end", Side(), ours, fields[60][8:11], now, out)
        office.books.close_batch(terminal.tid, int(now.wall * 1000), office.limits.keep_ms)
        terminal.next_batch()
        number = office.post(
            "terminal",
            ("batch", terminal.mid, terminal.tid, terminal.batch_text, terminal.suite, b"", b"", b""),
            now,
            out,
        )
        office.answer(link, frame, message.mti, fields, "00", now, out, {48: fields[48]}, number)

    def _items(self, terminal: Terminal) -> list[Exchange]:
        """What stands in the terminal's open batch, in our book."""
        batch = self._office.books.batches.get((terminal.tid, terminal.batch_text), ())
        sign = self._office.books.sign
        return [exchange for exchange in batch if exchange.counts and sign(exchange.row)]

    def _compare(self, terminal: Terminal, stan: str, amount: int, now: Now, out: Out) -> int:
        """One item of the terminal's batch beside ours: the row that says how they compare (the last one written, for
        an item repeated)."""
        if terminal.uploaded.get(stan) == amount:
            return self._office.books.row_last
        terminal.uploaded[stan] = amount
        ours = self._office.books.exchanges.get((terminal.tid, terminal.batch_text, stan))
        if ours is None or not ours.counts or not self._office.books.sign(ours.row):
            result = "pos_only"
        else:
            result = "matched" if ours.amount == amount else "amount_differs"
        return self._upload(terminal, stan, amount, result, now, out)

    def _upload(self, terminal: Terminal, stan: str, amount: int, result: str, now: Now, out: Out) -> int:
        row = (terminal.mid, terminal.tid, terminal.batch_text, stan, amount, result)
        return self._office.post("upload", row, now, out)

    def _post(self, terminal: Terminal, event: str, theirs: Side, ours: Side, result: str, now: Now, out: Out) -> int:
        return self._office.post(
            "settlement",
            (event, terminal.mid, terminal.tid, terminal.batch_text, *theirs[:4], *ours[:4], result),
            now,
            out,
        )
