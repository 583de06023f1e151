"""Chips at a shop's till through the whole house: each flow, and what it leaves in every book."""

from typing import Any

import pytest
from chip_shop import Shop, no_pin_table
from house import House
from msgspec.structs import replace

from switch.clearing.ecash import join_e_cash
from switch.clearing.schema import CARDS, OFFLINE
from switch.wire import tlv
from switch.wire.private_network import read_60
from switch.wire.profile import load_profile
from terminals.device import chip, load, pos
from terminals.device.chipbook import Holding, cards_rows, offline_rows
from terminals.device.dialogue import Outcome
from terminals.device.memory import terminals_rows
from terminals.kernel.session import CONTACTLESS

ISSUERS = pytest.mark.parametrize("issuer", [0, 1], ids=["core", "cups"])


def tags(data: bytes) -> dict[str, bytes]:
    return dict(tlv.read(data))


def sale(shop: Shop, amount: int = 1000, **more: Any) -> Outcome:
    return shop.run(chip.insert(shop.memory, shop.line, "sale", shop.card, amount, **more))


def tap(shop: Shop, amount: int = 1000, kind: str = "sale", **more: Any) -> Outcome:
    flow = chip.tap(shop.memory, shop.line, kind, shop.card, amount, **more)
    return shop.run(flow, interface=CONTACTLESS)


def e_cash(shop: Shop) -> Any:
    """The fifth book as `shoudan clearing ecash` would join it."""
    reference = shop.house.portfolio.reference
    issued = shop.icc.image.fresh_state().balance
    told = [Holding(shop.card.pan, shop.icc.state.balance, issued)]
    offline = [dict(zip(OFFLINE.names, row, strict=True)) for row in offline_rows([shop.memory], reference)]
    cards = [dict(zip(CARDS.names, row, strict=True)) for row in cards_rows(told, reference)]
    return join_e_cash(shop.house.chip_rows(), cards, offline)


@ISSUERS
@pytest.mark.parametrize("profile", ["debit", "sm", "composite", "quasi_credit", "credit"])
def test_a_sale_on_contacts(profile: str, issuer: int) -> None:
    try:
        shop = Shop(profile, issuer)
    except IndexError:
        pytest.skip("this issuer has no such card")
    outcome = sale(shop, force_online=True)
    assert (outcome.state, outcome.response_code, outcome.reason) == ("approved", "00", "")
    request = shop.said[-1].fields
    item, facts = outcome.item, outcome.item.chip
    with_pin = "pin" in shop.asked
    assert (request[22], request[23], request[60][11:13]) == (f"05{1 if with_pin else 2}", "001", "60")
    assert (request[2], request[14]) == (shop.card.pan, shop.card.expiry)
    assert request[35] == shop.card.track2.replace("=", "D")
    assert (52 in request) == with_pin
    asked = tags(request[55])
    assert (asked["9F27"], asked["9F02"]) == (b"\x80", bytes.fromhex("000000001000"))
    assert (facts.certificate, facts.atc, facts.arc) == ("TC", 1, "")
    assert tags(facts.data)["9F27"] == b"\x40"
    assert (item.state, item.reversal, shop.memory.owes) == ("approved", "none", False)
    assert shop.icc.state.last_online == 1


def test_the_same_rows_take_a_tap() -> None:
    shop = Shop("debit")
    assert tap(shop, 0, "balance").balance_minor is not None
    held = tap(shop, 2000, "preauth")
    assert held.approved
    request = shop.said[-1].fields
    assert (request[3], request[22], request[60][:2]) == ("030000", "071", "10")
    assert tags(request[55])["9C"] == b"\x03"
    done = shop.run(chip.insert(shop.memory, shop.line, "completion", shop.card, 2000, held.item), interface="contact")
    assert (done.approved, 55 in shop.said[-1].fields, shop.said[-1].fields[22]) == (True, False, "051")
    void = shop.run(chip.insert(shop.memory, shop.line, "completion_void", shop.card, 2000, done.item))
    assert void.approved
    assert (shop.said[-1].fields[23], shop.said[-1].fields[35][:16]) == ("001", shop.card.pan[:16])


def test_network_is_told_how_the_chip_was_read() -> None:
    shop = Shop("debit", 1)
    assert sale(shop).approved
    request = shop.house.said("cups")[-1].fields
    assert (request[22], request[23], request[60][5:7]) == ("051", "001", "60")
    told = read_60(request[60])
    assert (told.no_pin, told.medium, told.icc_application) == ("0", "2", "1")
    assert request[55] == shop.said[-1].fields[55]


@pytest.mark.parametrize("amount", [99_999, 100_000, 100_001])
@pytest.mark.parametrize("enrolled", [True, False])
@pytest.mark.parametrize("listed", [True, False])
def test_no_pin_no_signature(amount: int, enrolled: bool, listed: bool) -> None:
    shop = Shop("debit", 1)
    bins = (shop.card.pan[:6],) if listed else ("620199",)
    assert shop.card.pan[:6] != "620199"
    shop.memory.reader.small_max = 100_000 if enrolled else 0
    shop.memory.reader.small_bins = frozenset(bins)
    mid = shop.memory.mid if enrolled else "999290054110000"
    shop.house.engine.office.chips = no_pin_table(mid, bins)
    outcome = tap(shop, amount)
    free = amount <= 100_000 and enrolled and listed
    assert outcome.state == "approved"
    assert ("pin" in shop.asked) == (not free)
    assert outcome.item.chip.no_pin == free
    network = shop.house.said("cups")[-1].fields
    assert read_60(network[60]).no_pin == ("1" if free else "0")
    assert shop.said[-1].fields[22] == ("072" if free else "071")


def test_a_bin_taken_out_of_the_table_is_asked_its_pin() -> None:
    shop = Shop("debit", 1)
    reader = shop.memory.reader
    reader.small_max, reader.small_bins = 100_000, frozenset((shop.card.pan[:6],))
    reader.never_small = frozenset((shop.card.pan[:8],))
    assert tap(shop, 1000).approved
    assert shop.asked == ["pin"]


# electronic cash


@pytest.mark.parametrize("interface", ["contact", "contactless"])
def test_electronic_cash_is_kept_and_uploaded_before_the_next_request(interface: str) -> None:
    shop = Shop("dual", 1)
    shop.sign_in()
    paid = sale(shop, 300) if interface == "contact" else tap(shop, 300)
    assert (paid.state, paid.reason, paid.response_code) == ("approved", "offline", "Y1")
    assert (paid.balance_minor, shop.icc.state.balance) == (9700, 9700)
    assert shop.said == []
    (held,) = shop.memory.offline
    assert (held.state, held.kind, held.chip.certificate) == ("offline", "chip_offline_sale", "TC")
    assert [row[14] for row in terminals_rows([shop.memory])] == ["offline"]
    book = e_cash(shop)
    assert (book.card_minor, book.held_minor, book.shadow_minor, book.balanced) == (9700, 300, 10_000, True)
    assert sale(shop, 90_000).approved  # more than the card pays by itself
    assert shop.kinds() == ["0200 36", "0200 22"]
    upload = shop.said[0].fields
    assert (35 in upload, upload[22], upload[23], upload[63]) == (
        False, "052" if interface == "contact" else "072", "001", b"CUP",
    )  # fmt: skip
    assert (tags(upload[55])["8A"], tags(upload[55])["9F27"]) == (b"Y1", b"\x40")
    assert (held.state, held.response_code, shop.memory.offline) == ("approved", "00", [])
    book = e_cash(shop)
    assert (book.card_minor, book.held_minor, book.shadow_minor, book.balanced) == (9700, 0, 9700, True)
    settled = shop.run(pos.settle(shop.memory, shop.line))
    assert (settled.state, settled.reason) == ("approved", "balanced")
    shop.house.pass_time(200)
    assert shop.house.books().breaks == []


def test_all_certificates_are_with_the_host_before_the_totals() -> None:
    shop = Shop("dual", 1)
    shop.sign_in()
    for amount in (100, 200, 300):
        assert tap(shop, amount).approved
    settled = shop.run(pos.settle(shop.memory, shop.line))
    assert (settled.state, settled.reason, settled.totals.debit_minor) == ("approved", "balanced", 600)
    assert shop.kinds()[:4] == ["0200 36"] * 3 + ["0500 00"]
    assert e_cash(shop).balanced
    assert [row[-2] for row in offline_rows([shop.memory], shop.house.portfolio.reference)] == ["delivered"] * 3


def test_a_certificate_answered_94_is_delivered_and_another_code_is_listed() -> None:
    shop = Shop("dual", 1)
    shop.sign_in()
    assert tap(shop, 100).approved
    (held,) = shop.memory.offline
    shop.host = lambda body: (shop.house.ask(body), None)[1]
    assert not shop.run(pos.ready(shop.memory, shop.line))
    assert (held.state, len(shop.memory.offline)) == ("offline", 1)
    shop.host = shop.house.ask
    assert not shop.run(pos.ready(shop.memory, shop.line))
    assert (shop.answers[-1].fields[39], held.state, shop.memory.offline) == ("94", "approved", [])
    assert tap(shop, 200).approved
    forged = shop.memory.offline[0]
    data = forged.chip.data
    forged.chip.data = data[:3] + bytes(8) + data[11:]
    shop.run(pos.ready(shop.memory, shop.line))
    assert (forged.state, forged.response_code, shop.memory.refused) == ("declined", "05", [forged])
    assert shop.house.chip_rows()[-1]["event"] == "forged"
    rows = list(offline_rows([shop.memory], shop.house.portfolio.reference))
    assert [row[-2] for row in rows] == ["delivered", "refused"]


def test_a_queue_that_is_full_sends_the_card_online() -> None:
    shop = Shop("dual", 1, offline_max=1)
    shop.sign_in()
    assert tap(shop, 100).reason == "offline"
    assert tap(shop, 100).response_code == "00"
    assert shop.kinds() == ["0200 36", "0200 22"]
    assert tap(shop, 100).reason == "offline"


def test_a_refund_of_an_offline_sale() -> None:
    shop = Shop("dual", 1)
    shop.sign_in()
    assert tap(shop, 700).approved
    (held,) = shop.memory.offline
    assert not shop.run(pos.ready(shop.memory, shop.line))
    back = shop.run(chip.insert(shop.memory, shop.line, "chip_offline_refund", shop.card, 200, held))
    assert (back.state, back.response_code) == ("approved", "00")
    request = shop.said[-1]
    assert (request.mti, request.fields[62], request.fields[61][:12]) == (
        "0220", shop.memory.tid.encode(), held.batch + held.stan,
    )  # fmt: skip
    assert shop.run(pos.settle(shop.memory, shop.line)).reason == "balanced"


def test_balance_and_logs_ask_nobody_but_the_card() -> None:
    shop = Shop("dual", 1)
    shop.sign_in()
    tap(shop, 300)
    told = shop.run(chip.purse(shop.memory, logs=True))
    assert (told.balance_minor, len(told.payments)) == (9700, 1)
    assert shop.said == []


# loads


@ISSUERS
def test_a_load_from_the_own_account(issuer: int) -> None:
    shop = Shop("dual", issuer)
    done = shop.run(load.designated(shop.memory, shop.line, shop.card, 20_000))
    assert (done.state, done.balance_minor, shop.icc.state.balance) == ("approved", 30_000, 30_000)
    request = shop.said[-1].fields
    assert (request[3], request[22], 35 in request, 52 in request) == ("600000", "051", False, True)
    assert len(shop.memory.notices) == 1
    assert (done.item.state, shop.memory.pending) == ("approved", None)
    assert sale(shop, 90_000).approved
    assert shop.kinds() == ["0200 45", "0620 00", "0200 22"]
    told = shop.said[-2].fields
    assert (told[60][8:11], told[61], told[3]) == ("951", done.batch + done.stan + done.item.date, "600000")
    assert tags(told[55])["DF31"][:1] == b"\x20"
    assert shop.memory.notices == []
    book = e_cash(shop)
    assert (book.card_minor, book.shadow_minor, book.loads, book.balanced) == (30_000, 30_000, [], True)


def test_a_load_from_another_account() -> None:
    shop = Shop("dual", 1)
    payer = shop.a_card("debit", 1)
    done = shop.run(load.other(shop.memory, shop.line, payer, 5_000))
    assert (done.state, shop.icc.state.balance) == ("approved", 15_000)
    request = shop.said[-1].fields
    assert (request[2], request[22], request[48], request[62][-19:].decode()[-len(shop.card.pan):]) == (
        payer.pan, "021", "0520", shop.card.pan,
    )  # fmt: skip
    assert not shop.run(pos.ready(shop.memory, shop.line))
    told = shop.said[-1]
    assert (told.mti, told.fields[2], shop.answers[-1].fields[39]) == ("0620", shop.card.pan, "00")
    assert e_cash(shop).balanced


def test_a_load_in_cash_and_its_void() -> None:
    shop = Shop("dual", 1)
    done = shop.run(load.cash(shop.memory, shop.line, shop.card, 5_000))
    assert (done.state, shop.icc.state.balance, 52 in shop.said[-1].fields) == ("approved", 15_000, False)
    void = shop.run(load.cash_void(shop.memory, shop.line, shop.card, done.item))
    assert (void.state, shop.icc.state.balance) == ("approved", 10_000)
    assert shop.kinds() == ["0200 46", "0620 00", "0200 51"]
    assert 55 in shop.said[-1].fields
    assert not shop.run(pos.ready(shop.memory, shop.line))
    assert e_cash(shop).balanced
    assert done.item.undone


def test_a_load_whose_script_the_card_refuses_is_reversed() -> None:
    shop = Shop("dual", 1)
    card = shop.icc.transmit

    def refusing(command: bytes) -> bytes:
        return bytes.fromhex("6988") if command[1] == 0xDA else card(command)

    shop.icc = _Wrapped(shop.icc, refusing)
    done = shop.run(load.designated(shop.memory, shop.line, shop.card, 5_000))
    assert (done.state, done.reason, shop.memory.pending.reason) == ("declined", "script_failed", "06")
    assert len(shop.memory.notices) == 1
    assert not shop.run(pos.ready(shop.memory, shop.line))
    assert shop.kinds()[-3:] == ["0200 45", "0620 00", "0400 45"]
    assert tags(shop.said[-1].fields[55])["DF31"][:1] == b"\x11"
    shop.house.pass_time(5)
    posted = [(row["effect"], row["posted_minor"]) for row in shop.house.ledger_rows()]
    assert [minor for effect, minor in posted if minor and effect != "leg"] == [5_000, -5_000]
    assert (shop.icc.state.balance, e_cash(shop).balanced) == (10_000, True)


class _Wrapped:
    """A card whose answers somebody meddles with."""

    def __init__(self, icc: Any, transmit: Any) -> None:
        self._icc, self.transmit = icc, transmit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._icc, name)


@pytest.mark.parametrize("lost", [False, True], ids=["before the script", "after it"])
def test_a_load_torn_at_its_script_stays_in_doubt_and_is_taken_up(lost: bool) -> None:
    shop = Shop("dual", 1)
    seen: list[Any] = []
    shop.run(load.designated(shop.memory, shop.line, shop.card, 1_000, seen=seen.append))
    steps = shop.apdus
    shop.run(pos.ready(shop.memory, shop.line))
    shop.torn_at, shop.lost = steps - 2, lost  # the script; the balance is read once more after it
    done = shop.run(load.designated(shop.memory, shop.line, shop.card, 5_000))
    shop.torn_at = -1
    assert (done.state, done.reason) == ("unknown", "load_doubt")
    assert (shop.memory.pending, shop.memory.notices, shop.memory.doubts) == (None, [], [done.item])
    assert shop.icc.state.balance == (16_000 if lost else 11_000)
    before = len(shop.said)
    taken = shop.run(load.take_up(shop.memory, shop.line, shop.card))
    assert [message.mti for message in shop.said[before:]] == ["0200"]
    if lost:
        assert (taken.response_code, taken.state) == ("25", "declined")  # the card has it: its balance says so
    else:
        assert (taken.state, shop.memory.doubts) == ("approved", [])
    assert shop.icc.state.balance == 16_000
    shop.run(pos.ready(shop.memory, shop.line))
    book = e_cash(shop)
    assert (book.card_minor, book.shadow_minor, book.loads, book.balanced) == (16_000, 16_000, [], True)


# the card refuses, the stripe is refused


def test_a_card_that_does_not_go_along_is_reversed_with_its_data() -> None:
    shop = Shop("debit", 1)
    steps = _steps(shop)
    shop.torn_at = steps - 1  # at its second cryptogram
    outcome = sale(shop)
    shop.torn_at = -1
    assert (outcome.state, outcome.reason, outcome.response_code) == ("declined", "card_removed", "00")
    assert (outcome.item.reversal, shop.memory.pending.reason) == ("pending", "06")
    assert not shop.run(pos.ready(shop.memory, shop.line))
    reversal = shop.said[-1]
    assert (reversal.mti, reversal.fields[39], reversal.fields[11]) == ("0400", "06", outcome.stan)
    told = tags(reversal.fields[55])
    assert set(told) >= {"95", "9F10"}
    assert told["9F36"] == bytes.fromhex("0002")
    assert outcome.item.reversal == "done"
    shop.house.pass_time(5)
    assert sum(row["posted_minor"] for row in shop.house.ledger_rows()) == 1000  # the first sale alone


def _steps(shop: Shop) -> int:
    """APDUs of a sale that goes well."""
    assert sale(shop).approved
    return shop.apdus


def test_a_wrong_arpc_fails_the_card_and_the_reversal_says_so() -> None:
    shop = Shop("debit", 1)
    shop.sign_in()
    card = shop.icc.transmit

    def refuses(command: bytes) -> bytes:
        return bytes.fromhex("6300") if command[1] == 0x82 else card(command)

    shop.icc = _Wrapped(shop.icc, refuses)
    outcome = sale(shop)
    assert outcome.item.chip.arpc_failed
    assert outcome.item.chip.tvr & 0x0000000040
    assert outcome.state in ("approved", "declined")
    if outcome.state == "declined":
        assert shop.memory.pending.reason == "06"


def test_the_stripe_of_a_chip_card_is_taken_only_as_a_marked_fallback() -> None:
    shop = Shop("composite", 1)
    shop.sign_in()
    swiped = shop.run(pos.sale(shop.memory, shop.line, shop.card, 1000))
    assert (swiped.state, swiped.reason, shop.said) == ("unsent", "insert_card", [])
    dead = _Wrapped(shop.icc, lambda command: bytes.fromhex("6F00"))
    for _ in range(3):
        assert shop.run(chip.insert(shop.memory, shop.line, "sale", shop.card, 1000), dead).state == "unsent"
    assert shop.memory.reader.failures == 3
    taken = shop.run(pos.sale(shop.memory, shop.line, shop.card, 1000))
    assert (taken.response_code, taken.item.condition) == ("00", "2")
    request = shop.said[-1].fields
    assert (request[22], request[60][11:13], 55 in request) == ("021", "62", False)
    assert shop.memory.reader.failures == 0


@pytest.mark.parametrize(("marks", "entry"), [(("80",), "801"), (("02", "80"), "021"), ((), "")])
def test_a_fallback_is_marked_as_the_profile_says(marks: tuple[str, ...], entry: str) -> None:
    profile = load_profile("unionpay-pos")
    profile = replace(profile, chips=replace(profile.chips, fallback=marks))
    shop = Shop("composite", 1, house=House(pos=profile))
    shop.memory.reader.failures = 3
    taken = shop.run(pos.sale(shop.memory, shop.line, shop.card, 1000))
    if not marks:
        assert (taken.state, taken.reason, shop.said) == ("unsent", "no_fallback", [])
        return
    assert (taken.response_code, taken.item.entry_mode) == ("00", entry)
    assert (shop.said[-1].fields[22], shop.said[-1].fields[60][11:13]) == (entry, "62")


def test_an_unanswered_request_is_reversed_with_its_count() -> None:
    shop = Shop("debit", 1)
    shop.sign_in()
    shop.host = lambda body: (shop.house.ask(body), None)[1]
    assert tap(shop).state == "unknown"
    shop.host = shop.house.ask
    assert not shop.run(pos.ready(shop.memory, shop.line))
    told = tags(shop.said[-1].fields[55])
    assert (shop.said[-1].mti, shop.said[-1].fields[39], set(told)) == ("0400", "98", {"9F1E", "9F36"})
    assert told["9F36"] == bytes.fromhex("0001")
    shop.house.pass_time(5)
    network = next(message for message in shop.house.said("cups") if message.mti == "0420")
    assert tags(network.fields[55])["9F36"] == bytes.fromhex("0001")
    assert sum(row["posted_minor"] for row in shop.house.ledger_rows()) == 0


def test_a_hundred_composite_swipes_are_refused() -> None:
    shop = Shop("composite", 1)
    shop.sign_in()
    reasons = [shop.run(pos.sale(shop.memory, shop.line, shop.card, 1000 + n)).reason for n in range(100)]
    assert reasons == ["insert_card"] * 100
    assert shop.said == []


def test_a_flash_card_is_debited_once() -> None:
    shop = Shop("dual", 1)
    shop.sign_in()
    tap(shop, 100)
    for step in range(shop.apdus):
        for lost in (False, True):
            before = shop.icc.state.balance
            shop.torn_at, shop.lost = step, lost
            outcome = tap(shop, 100)
            shop.torn_at = -1
            assert (step, lost, outcome.state) == (step, lost, "approved")
            assert before - shop.icc.state.balance == 100
    assert e_cash(shop).balanced


def test_batch_upload_of_chips_when_balanced_and_when_not() -> None:
    shop = Shop("debit", 1)
    assert sale(shop).approved
    settled = shop.run(pos.settle(shop.memory, shop.line))
    assert settled.reason == "balanced"
    detail = next(m for m in shop.said if m.mti == "0320" and m.fields[60][8:11] == "203")
    assert (detail.fields[22], detail.fields[62]) == ("050", b"6100" + b"00" + b"000000001000" + b"156")
    assert tags(detail.fields[55])["9F27"] == b"\x40"
    assert sale(shop).approved
    shop.memory.items[-1].amount_minor += 1
    settled = shop.run(pos.settle(shop.memory, shop.line))
    assert settled.reason == "unbalanced"
    assert [m.fields[60][8:11] for m in shop.said if m.mti == "0320"] == ["203", "207", "205", "202"]
    assert [row["result"] for row in shop.house.of("upload")][-1] == "amount_differs"


def test_no_export_names_a_card() -> None:
    shop = Shop("dual", 1)
    shop.run(load.designated(shop.memory, shop.line, shop.card, 5_000))
    tap(shop, 300)
    sale(shop, 50_000)
    reference = shop.house.portfolio.reference
    told = repr(list(terminals_rows([shop.memory]))) + repr(list(offline_rows([shop.memory], reference)))
    told += repr(list(cards_rows([Holding(shop.card.pan, 1, 2)], reference))) + repr(shop.memory)
    told += repr(shop.memory.items) + repr([item.chip for item in shop.memory.items]) + repr(shop.memory.notices)
    told += repr(shop.memory.reader)
    secrets = [shop.card.pan, shop.card.track2, shop.card.pan + "D"]
    secrets += [repr(item.chip.data)[2:-1] for item in shop.memory.items if item.chip]
    for secret in secrets:
        assert secret not in told
