"""What a till with a reader owes and keeps: the order it is told in, decisions without a host, downloads, receipts."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from chip_shop import Shop, no_pin_table
from test_chip_flows import _Wrapped, e_cash, sale, tags, tap

from switch.machine import Send
from terminals.device import chip, download, load, pos
from terminals.device.dialogue import CHIP_CLASS, Line
from terminals.device.receipt import receipt, reprint
from terminals.drive.aio import Connection
from terminals.drive.replies import waited_for
from terminals.flow import HostUnreachable

PLAIN = "E0F0C0"
"""9F33 of a terminal without CDA, whose cards answer in format 1."""


def lenient(shop: Shop) -> Shop:
    """Transactions go online because they were drawn at random, which no default code holds against them."""
    kernel = shop.memory.reader.kernel
    drawn = {"floor_minor": 10**7, "threshold_minor": 10**6, "target": 99, "target_max": 99}
    aids = tuple(replace(aid, tac_default=0, tac_online=0x1000, **drawn) for aid in kernel.parameters.aids)
    kernel.parameters = replace(kernel.parameters, aids=aids)
    kernel.capabilities = int(PLAIN, 16)
    kernel.fixed["9F33"] = bytes.fromhex(PLAIN)
    return shop


def unreachable(body: bytes) -> bytes | None:
    raise HostUnreachable


def test_all_that_is_owed_goes_in_its_order() -> None:
    shop = Shop("dual", 1)
    shop.sign_in()
    for amount in (300, 200):
        assert tap(shop, amount).approved
    card = shop.icc.transmit
    shop.icc = _Wrapped(shop.icc, lambda command: b"\x69\x88" if command[1] == 0xDA else card(command))
    assert shop.run(load.designated(shop.memory, shop.line, shop.card, 500)).reason == "script_failed"
    assert (len(shop.memory.notices), shop.memory.pending.reason, len(shop.memory.offline)) == (1, "06", 1)
    before = len(shop.said)
    assert sale(shop, 60_000).approved
    told = [(message.mti, message.fields[60][:2]) for message in shop.said[before:]]
    assert told == [("0620", "00"), ("0400", "45"), ("0200", "36"), ("0200", "22")]
    assert not shop.memory.owes
    assert e_cash(shop).balanced


@pytest.mark.parametrize("host", [lambda body: None, unreachable], ids=["silent", "unreachable"])
def test_a_card_declines_when_nobody_can_be_asked(host: Any) -> None:
    shop = Shop("debit", 1)
    shop.sign_in()
    shop.host = host
    outcome = sale(shop)
    assert (outcome.state, outcome.response_code) == ("unknown", "")
    (held,) = shop.memory.offline
    assert (held.state, held.response_code, held.chip.arc, held.chip.certificate) == ("declined", "Z3", "Z3", "AAC")
    assert tags(held.chip.data)["8A"] == b"Z3"
    assert shop.memory.pending.reason == "98"
    shop.host = shop.house.ask
    settled = shop.run(pos.settle(shop.memory, shop.line))
    assert (settled.reason, settled.totals.debit_minor) == ("balanced", 0)
    assert shop.kinds()[1:4] == ["0400 22", "0200 36", "0500 00"]
    assert shop.answers[-4].fields[39] == "00"
    notice = next(m for m in shop.said if m.mti == "0320" and m.fields[60][8:11] == "204")
    assert notice.fields[62] == b"71" + b"00" + b"13" + b"000000001000" + b"156" + b"1" + b"0"
    assert [row["result"] for row in shop.house.of("upload")] == ["chip_declined"]
    refused = [row for row in shop.house.of("journal") if row["state"] == "refused"]
    assert [(row["kind"], row["response_code"]) for row in refused] == [("chip_offline_sale", "Z1")]
    shop.house.pass_time(70)
    assert shop.house.books().breaks == []


def test_a_card_approves_when_nobody_can_be_asked() -> None:
    shop = lenient(Shop("credit", 2))
    assert sale(shop).approved  # no new card any more
    card = shop.icc.transmit
    asked: list[int] = []

    def willing(command: bytes) -> bytes:
        answer = card(command)
        if command[1] == 0xAE:
            asked.append(command[2])
            if len(asked) == 2:
                return answer[:2] + b"\x40" + answer[3:]
        return answer

    shop.icc = _Wrapped(shop.icc, willing)
    shop.host = lambda body: None
    outcome = sale(shop, 700)
    assert asked == [0x80, 0x40]
    assert (outcome.state, outcome.reason, outcome.response_code) == ("approved", "offline", "Y3")
    (held,) = shop.memory.offline
    assert (held.state, held.kind, tags(held.chip.data)["8A"]) == ("offline", "chip_offline_sale", b"Y3")
    assert shop.memory.pending.item.kind == "sale"  # what was sent is taken back: the certificate pays
    assert "TC" in receipt(shop.memory, held, "en")


def test_an_offline_decline_is_told() -> None:
    shop = Shop("debit", 1)
    shop.sign_in()
    kernel = shop.memory.reader.kernel
    kernel.parameters = replace(
        kernel.parameters, aids=tuple(replace(aid, tac_denial=0xFFFFFFFFFF) for aid in kernel.parameters.aids)
    )
    outcome = sale(shop)
    assert (outcome.state, outcome.reason, outcome.response_code) == ("declined", "terminal_declined", "Z1")
    assert shop.said == []
    assert not shop.run(pos.ready(shop.memory, shop.line))
    assert (shop.kinds(), shop.answers[-1].fields[39], shop.memory.offline) == (["0200 36"], "00", [])
    (row,) = [row for row in shop.house.of("journal") if row["state"] == "refused"]
    told = next(one for name, one in reversed(shop.house.effects) if name == "switch" and isinstance(one, Send))
    assert told.after == row["number"] > 0, "its terminal forgets it: not before it stands here"
    assert shop.memory.items[0].state == "declined"
    assert sum(row["posted_minor"] for row in shop.house.ledger_rows()) == 0


@pytest.mark.parametrize("lost", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("profile", ["debit", "dual"])
def test_a_card_torn_at_every_command(profile: str, lost: bool) -> None:
    shop = Shop(profile, 1)
    shop.sign_in()
    step = 0
    while True:
        shop.torn_at, shop.lost = step, lost
        balance = shop.icc.state.balance
        outcome = sale(shop, 100)
        assert outcome.state in ("approved", "declined", "unsent"), step
        if outcome.state == "unsent":
            assert outcome.reason == "card_removed"
        if profile == "debit" and outcome.state == "declined":
            assert (outcome.item.reversal, shop.memory.pending.reason) == ("pending", "06")
        if shop.apdus <= step:
            break
        step += 1
        shop.torn_at = -1
        assert not shop.run(pos.ready(shop.memory, shop.line))
        if profile == "dual" and outcome.state == "unsent" and shop.icc.state.balance != balance:
            assert lost  # the cryptogram itself was on its way: only the card's log has it
    assert step == (16 if profile == "debit" else 14) + 1
    shop.torn_at = -1
    assert shop.run(pos.settle(shop.memory, shop.line)).reason == "balanced"
    shop.house.pass_time(70)
    assert shop.house.books().breaks == []


# downloads


def test_downloads_hold_from_the_next_transaction() -> None:
    shop = Shop("dual", 1)
    shop.sign_in()
    reader = shop.memory.reader
    reader.kernel.parameters = replace(reader.kernel.parameters, ca_keys={})
    assert sale(shop, 100).item.chip.tvr >> 32 & 0x7C  # authentication fails without a CA key
    bins = (*(f"63{n:04d}" for n in range(200)), shop.card.pan[:6])
    shop.house.engine.office.chips = no_pin_table(shop.memory.mid, bins)
    before = len(shop.said)
    outcome = shop.run(download.everything(shop.memory, shop.line))
    assert (outcome.state, outcome.kind) == ("approved", "never_without_pin")
    codes = [message.fields[60][8:11] for message in shop.said[before:]]
    assert codes[:2] == ["372", "370"]
    assert codes.count("380") == 2
    assert codes.count("396") >= 3  # page after page
    assert [code for code in codes if code in ("371", "381", "395", "397", "399")] == [
        "371", "381", "395", "397", "399",
    ]  # fmt: skip
    parameters = reader.kernel.parameters
    assert len(parameters.ca_keys) == 2
    assert [aid.aid.hex().upper() for aid in parameters.aids] == ["A000000333010101", "A000000333010102"]
    assert (reader.small_max, len(reader.small_bins)) == (100_000, 201)
    assert shop.card.pan[:6] in reader.small_bins
    assert sale(shop, 100).item.chip.tvr >> 32 == 0
    done = tap(shop, 50_000)
    assert (done.response_code, done.item.chip.no_pin, shop.asked) == ("00", True, [])
    told = {row["requirement"] for row in shop.house.of("download")}
    assert told >= {"4", "5", "9", "B"}


def test_the_header_of_an_answer_announces_a_download() -> None:
    shop = Shop("dual", 1)
    shop.sign_in()
    shop.house.engine.office.chips = no_pin_table(shop.memory.mid, ("620000",))
    line = Line(shop.house.pos, CHIP_CLASS)
    assert line.header.hex()[:2] == "61"
    connection = Connection(line, asyncio.new_event_loop())

    def host(body: bytes) -> bytes | None:
        link = shop.house.link()
        shop.house.deliver(link, body, line.header)
        reply = shop.house.reply_on(link)
        headers = [effect.header for _, effect in shop.house.effects if getattr(effect, "link", None) is link]
        connection._reply = asyncio.Future(loop=connection._loop)
        connection._waited = waited_for(line, body)
        connection.data_received(line.framing.wrap(reply or b"", headers[-1], line.tpdu))
        assert connection._reply.result() == reply
        return reply

    shop.host = host
    told = []
    while not told or told[-1] in download.DOWNLOADS:
        shop.run(download.download(shop.memory, line, told[-1]) if told else pos.echo(shop.memory, line))
        told.append(connection.requirement)
    connection._loop.close()
    assert told == ["4", "5", "9", "B", "0"]


def test_a_download_cut_short_changes_nothing() -> None:
    shop = Shop("dual", 1)
    shop.sign_in()
    shop.house.engine.office.chips = no_pin_table(shop.memory.mid, ("620000",))
    reader = shop.memory.reader
    before = reader.kernel.parameters
    for calls in range(3):
        count = 0

        def host(body: bytes, stop: int = calls) -> bytes | None:
            nonlocal count
            count += 1
            return None if count > stop else shop.house.ask(body)

        shop.host = host
        outcome = shop.run(download.download(shop.memory, shop.line, "5"))
        assert (outcome.state, outcome.reason) == ("unknown", "timed out")
        assert reader.kernel.parameters is before
    with pytest.raises(KeyError):
        download.download(shop.memory, shop.line, "7").send(None)


def test_a_record_that_does_not_read_is_not_taken() -> None:
    shop = Shop("dual", 1)
    shop.sign_in()
    office = shop.house.engine.office
    office.chips = no_pin_table(shop.memory.mid, ("620000",))
    key = office.chips.lists["4"][0]
    office.chips.lists["4"] = (key._replace(record=[(t, b"\x00" * 20 if t == "DF03" else v) for t, v in key.record]),)
    before = shop.memory.reader.kernel.parameters
    outcome = shop.run(download.download(shop.memory, shop.line, "4"))
    assert (outcome.state, outcome.reason) == ("declined", "bad reply")
    assert shop.memory.reader.kernel.parameters is before
    assert shop.house.of("download") == []


# receipts


def test_the_receipt_of_a_chip_sale() -> None:
    shop = Shop("debit", 1)
    outcome = sale(shop, 12_345)
    facts = outcome.item.chip
    slip = receipt(shop.memory, outcome.item, "en")
    shown = ("ENTRY", "AID", "ATC", "TVR", "TSI", "TC")
    assert [line.split() for line in slip.splitlines() if line.startswith(shown)] == [
        ["ENTRY", "CHIP"], ["AID", facts.aid], ["TC", facts.ac], ["ATC", "0001"], ["TVR", f"{facts.tvr:010X}"],
        ["TSI", f"{facts.tsi:04X}"],
    ]  # fmt: skip
    assert "PIN VERIFIED" in slip
    assert "插卡" in reprint(shop.memory)
    assert shop.card.pan not in slip


def test_the_receipt_of_a_sale_without_pin_and_of_electronic_cash() -> None:
    shop = Shop("debit", 1)
    shop.memory.reader.small_max = 100_000
    shop.memory.reader.small_bins = frozenset((shop.card.pan[:6],))
    slip = receipt(shop.memory, tap(shop, 900).item, "en")
    assert "NO PIN, NO SIGNATURE REQUIRED" in slip
    assert "CONTACTLESS" in slip
    assert "ARQC" in slip
    assert "小额免密免签" in reprint(shop.memory)
    shop = Shop("dual", 1)
    slip = receipt(shop.memory, tap(shop, 900).item, "en")
    assert "OFFLINE TRANSACTION" in slip
    assert "91.00" in slip
    with pytest.raises(ValueError, match="only an approved"):
        receipt(shop.memory, replace(shop.memory.items[0], state="declined"))


def test_a_till_without_reader_reads_no_chips() -> None:
    shop = Shop("debit", 1)
    shop.memory.reader = None
    with pytest.raises(ValueError, match="reads no chips"):
        shop.run(chip.insert(shop.memory, shop.line, "sale", shop.card, 100))
    other = Shop("debit", 1)
    with pytest.raises(ValueError, match="earlier transaction"):
        other.run(chip.insert(other.memory, other.line, "load_cash_void", other.card, 100))
