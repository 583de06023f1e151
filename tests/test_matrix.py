"""The wider matrix: limits of pre-authorizations, additions, legs, notices, parameters; reversal, void and upload of
every row."""

import msgspec
import pytest
from engine_requests import ask, fields_of, item, of_suite, reversal_of, signed_in
from house import House, standard_lines

from switch.issuer.ledger import account_name
from switch.machine import Send
from switch.wire.private_62 import Instalment, Points, read_detail, write_detail, write_sm_pin_62
from switch.wire.private_network import read_48_usages
from switch.wire.profile import CodesSection, PosProfile, ProfileError, load_profile, profile_from
from switch.wire.transactions import ATM, BY_NAME, CHAINS, ROWS
from terminals.device import pos
from terminals.device.memory import Item, Memory
from terminals.goods import extras

DAY_S = 86_400.0
KINDS = [row.name for row in ROWS if not row.chip and row.condition != ATM]
MONEY = [row.name for row in ROWS if not row.chip and row.condition != ATM and row.amount]
REVERSIBLE = [row.name for row in ROWS if not row.chip and row.condition != ATM and row.reversible]
VOIDS = [row.name for row in ROWS if not row.chip and row.undoes]


def at_rest(house: House) -> None:
    """All books agree, and no issuer's is off."""
    books = house.books()
    assert books.breaks == []
    assert books.agreed
    assert all(centre.check() for centre in house.centres.values())


def perform(house: House, memory: Memory, kind: str, issuer: int = 1, amount: int = 1300) -> Item:
    """A transaction with all that must come before it; its item."""
    made: Item | None = None
    for one in (*CHAINS[kind], kind):
        row = BY_NAME[one]
        asked = 0 if not row.amount else amount if made is None or not row.undoes else made.total_minor
        more = extras(row, house.card(issuer, 2).pan)
        outcome = house.run(pos.transact(memory, house.line, one, house.card(issuer, 1), asked, made, **more))
        made = outcome.item
        assert made is not None
    return made


def available(house: House, issuer: int = 1, n: int = 1, points: bool = False) -> int:
    """What the card has now at its issuer."""
    card = house.card(issuer, n)
    banks = house.centres["core" if issuer == 0 else "cups"].banks
    bank = next(bank for bank in banks if bank.knows(card.pan))
    pan_hash = bank._hash_of(card.pan)
    account = bank.ledger.account(account_name(pan_hash, "points_sale" if points else "sale"))
    return account.available_minor if account.opened else card.balance_minor


# every row


@pytest.mark.parametrize("issuer", [0, 1])
@pytest.mark.parametrize("kind", REVERSIBLE)
def test_every_reversal_takes_back_all(kind: str, issuer: int) -> None:
    house = House()
    memory = house.memories[0]
    before = {points: available(house, issuer, points=points) for points in (False, True)}
    made = perform(house, memory, kind, issuer)
    undone = CHAINS[kind]
    if undone:
        between = House()
        perform(between, between.memories[0], undone[-1], issuer)
        before = {points: available(between, issuer, points=points) for points in (False, True)}
    assert made.state == "approved"
    assert ask(house, memory, "0400", reversal_of(house, memory, made)).fields[39] == "00"
    assert {points: available(house, issuer, points=points) for points in (False, True)} == before
    made.reversal = "done"
    at_rest(house)


@pytest.mark.parametrize("kind", VOIDS)
def test_every_void_takes_back_all(kind: str) -> None:
    house = House()
    before = available(house), available(house, points=True)
    assert perform(house, house.memories[0], kind).state == "approved"
    if "completion" in kind:
        assert available(house) == before[0] - 1300, "the pre-authorization stands again"
    else:
        assert (available(house), available(house, points=True)) == before
    at_rest(house)


@pytest.mark.parametrize("kind", [kind for kind in MONEY if not BY_NAME[kind].advice])
def test_a_reversal_after_silence(kind: str) -> None:
    """The answer does not come: the switch reverses, and so does the terminal, before its next transaction."""
    house = House()
    memory = house.memories[0]
    signed_in(house)

    def deaf(name: str, send: Send) -> Send | None:
        return None if name in ("cups", "core") and house.engine.office.books.exchanges[key].kind == kind else send

    chain = (*CHAINS[kind], kind)
    made: Item | None = None
    for one in chain:
        row = BY_NAME[one]
        key = (memory.tid, memory.batch, f"{memory.stan + 1:06d}")
        house.meddle = deaf if one == kind else house.meddle
        amount = made.total_minor if row.undoes and made is not None else 1300
        more = extras(row, house.card(1, 2).pan)
        outcome = house.run(pos.transact(memory, house.line, one, house.card(1, 1), amount, made, **more))
        made = outcome.item
    assert made is not None
    assert made.state != "approved"
    house.meddle = lambda name, send: send
    house.run(pos.put_right(memory, house.line))
    house.pass_time(130)
    at_rest(house)


@pytest.mark.parametrize("kind", MONEY)
def test_every_row_in_a_batch_upload(kind: str) -> None:
    """A batch that does not balance is uploaded item by item, and every item is found."""
    house = House()
    memory = house.memories[0]
    perform(house, memory, kind)
    perform(house, memory, "sale")
    lost = memory.items.pop()
    assert house.run(pos.settle(memory, house.line)).reason == "unbalanced"
    results = {row["stan"]: row["result"] for row in house.of("upload")}
    assert results.pop(lost.stan) == "host_only"
    counted = [one for one in memory.closed if one.counts]
    assert results == {one.stan: "matched" for one in counted}
    memory.closed.append(lost)
    at_rest(house)


# pre-authorization


def test_more_than_115_percent_is_refused() -> None:
    house = House()
    memory = house.memories[0]
    hold = perform(house, memory, "preauth", amount=1000)
    card = house.card(1, 1)
    for kind in ("completion", "completion_notice"):
        flow = pos.transact(memory, house.line, kind, card, 1151, hold)
        assert house.run(flow).response_code == "64"
    assert house.run(pos.completion(memory, house.line, hold, card, 1150)).approved
    at_rest(house)


def test_a_completion_is_once_only() -> None:
    house = House()
    memory = house.memories[0]
    hold = perform(house, memory, "preauth", amount=1000)
    card = house.card(1, 1)
    assert house.run(pos.completion_notice(memory, house.line, hold, card, 900)).approved
    assert house.run(pos.completion(memory, house.line, hold, card, 100)).response_code == "12"
    assert house.run(pos.completion_notice(memory, house.line, hold, card, 100)).response_code == "12"
    at_rest(house)


def test_a_hold_is_good_for_thirty_days() -> None:
    for days, code in ((29.9, "00"), (30.1, "22")):
        house = House()
        memory = house.memories[0]
        hold = perform(house, memory, "preauth", amount=1000)
        house.wall += days * DAY_S
        outcome = house.run(pos.completion(memory, house.line, hold, house.card(1, 1), 900))
        assert outcome.response_code == code


def test_more_on_hold_counts_for_completion_and_void() -> None:
    house = House()
    memory = house.memories[0]
    card, before = house.card(1, 1), available(house)
    hold = perform(house, memory, "preauth", amount=1000)
    assert house.run(pos.additional_preauth(memory, house.line, hold, card, 500)).approved
    assert available(house) == before - 1500
    wrong = pos.transact(memory, house.line, "preauth_void", card, 1000, hold)
    assert house.run(wrong).response_code == "64", "a void takes back all of it"
    assert house.run(pos.preauth_void(memory, house.line, hold, card)).approved
    assert available(house) == before
    hold = perform(house, memory, "preauth", amount=1000)
    assert house.run(pos.additional_preauth(memory, house.line, hold, card, 500)).approved
    assert house.run(pos.completion(memory, house.line, hold, card, 1725)).approved
    assert available(house) == before - 1725
    assert house.run(pos.additional_preauth(memory, house.line, hold, card, 100)).response_code == "12"
    at_rest(house)


def test_moto_and_plain_do_not_mix() -> None:
    house = House()
    memory = house.memories[0]
    hold = perform(house, memory, "moto_preauth", amount=1000)
    outcome = house.run(pos.completion(memory, house.line, hold, house.card(1, 1), 1000))
    assert outcome.response_code == "25"


# advices that add


def test_an_offline_sale_needs_no_original_and_keeps_its_code() -> None:
    house = House()
    memory = house.memories[0]
    before = available(house)
    sold = house.run(pos.offline_sale(memory, house.line, house.card(1, 1), 700, "ABC123"))
    assert (sold.approved, sold.auth_code) == (True, "ABC123")
    assert house.run(pos.adjust(memory, house.line, sold.item, 70)).approved
    assert house.run(pos.adjust(memory, house.line, sold.item, 70)).response_code == "12", "once"
    assert available(house) == before - 770
    assert memory.totals()[:2] == (770, 2)
    assert house.run(pos.settle(memory, house.line)).reason == "balanced"
    at_rest(house)


def test_an_offline_sale_while_the_line_is_down_is_delivered_later() -> None:
    house = House()
    memory = house.memories[0]
    signed_in(house)
    house.disconnect("cups")
    sold = house.run(pos.offline_sale(memory, house.line, house.card(1, 1), 700, "ABC123"))
    assert (sold.approved, sold.auth_code) == (True, "ABC123")
    assert house.run(pos.adjust(memory, house.line, sold.item, 70)).approved
    house.restart_switch()
    house.pass_time(130)
    assert [message.fields.get(38) for message in house.said("cups") if message.mti == "0220"][-2:] == ["ABC123"] * 2
    at_rest(house)


def test_a_tip_is_added_once_and_ends_the_void() -> None:
    house = House()
    memory = house.memories[0]
    sold = perform(house, memory, "sale", amount=1000)
    assert house.run(pos.tip(memory, house.line, sold, 150)).approved
    assert house.run(pos.tip(memory, house.line, sold, 10)).response_code == "12"
    flow = pos.transact(memory, house.line, "sale_void", house.card(1, 1), 1000, sold)
    assert house.run(flow).response_code == "12"
    assert house.run(pos.refund(memory, house.line, sold, house.card(1, 1), 1000)).approved
    at_rest(house)


def test_a_tip_to_a_sale_of_a_closed_batch() -> None:
    house = House()
    memory = house.memories[0]
    sold = perform(house, memory, "sale", amount=1000)
    assert house.run(pos.settle(memory, house.line)).approved
    assert house.run(pos.tip(memory, house.line, sold, 150)).response_code == "25"


@pytest.mark.parametrize(("kind", "more"), [("sale", "tip"), ("preauth", "additional_preauth")])
def test_what_was_added_to_is_not_reversed(kind: str, more: str) -> None:
    house = House()
    memory = house.memories[0]
    made = perform(house, memory, kind, amount=1000)
    assert house.run(pos.transact(memory, house.line, more, house.card(1, 1), 150, made)).approved
    assert ask(house, memory, "0400", reversal_of(house, memory, made)).fields[39] == "12"
    at_rest(house)


# instalments and points


@pytest.mark.parametrize("suite", ["3des", "sm4"])
def test_instalments_and_points_on_the_line(suite: str) -> None:
    house = House()
    memory, card = of_suite(house, suite), house.card(1, 1)
    assert house.run(pos.instalment_sale(memory, house.line, card, 1200, Instalment(6, "G77", "1"))).approved
    [usage] = read_48_usages(house.said("cups")[-1].fields[48])
    assert (usage.tag, usage.data) == ("IP", b"06" + b"G77".ljust(30) + b"1")
    assert house.run(pos.points_sale(memory, house.line, card, 500, Points("G88"))).approved
    [usage] = read_48_usages(house.said("cups")[-1].fields[48])
    assert (usage.tag, usage.data) == ("BP", b"G88".ljust(30))


def test_points_are_not_money() -> None:
    house = House()
    money, points = available(house), available(house, points=True)
    perform(house, house.memories[0], "points_sale", amount=500)
    assert (available(house), available(house, points=True)) == (money, points - 500)
    at_rest(house)


def test_a_detail_behind_an_sm4_pin() -> None:
    pin = write_sm_pin_62(bytes(16))
    written = write_detail(pin, "points", b"goods")
    assert written.startswith(pin)
    assert read_detail(written, "points") == b"goods"
    assert read_detail(b"goods", "points") == b"goods"


# loads and transfers


@pytest.mark.parametrize("load", [True, False])
def test_both_legs_of_a_load(load: bool) -> None:
    house = House()
    memory, payer, receiver = house.memories[0], house.card(1, 1), house.card(3, 4)
    before = available(house, 1, 1), available(house, 3, 4)
    made = house.run(pos.transfer(memory, house.line, payer, 800, receiver.pan, load=load))
    assert made.approved
    assert (available(house, 1, 1), available(house, 3, 4)) == (before[0] - 800, before[1] + 800)
    legs = [row for row in house.ledger_rows() if row["effect"] == "leg"]
    assert [(row["posted_minor"], row["pan_masked"][-4:]) for row in legs] == [(-800, receiver.pan[-4:])]
    assert ask(house, memory, "0400", reversal_of(house, memory, made.item)).fields[39] == "00"
    assert (available(house, 1, 1), available(house, 3, 4)) == before
    made.item.reversal = "done"
    at_rest(house)


def test_a_load_of_a_card_that_does_not_exist() -> None:
    house = House()
    pan = house.card(3, 4).pan
    wrong = pan[:-1] + str((int(pan[-1]) + 1) % 10)
    outcome = house.run(pos.transfer(house.memories[0], house.line, house.card(1, 1), 800, wrong, load=True))
    assert outcome.response_code == "14"


def test_a_de62_that_is_no_card_number() -> None:
    house = House()
    memory = house.memories[0]
    signed_in(house)
    fields = fields_of(house, memory, item(house, memory, "account_load"))
    assert ask(house, memory, "0200", fields | {62: b"nobody"}).fields[39] == "30"
    assert house.engine.status()["inflight"] == 0


def test_a_cash_load_is_verified_loaded_and_confirmed() -> None:
    house = House()
    before = available(house)
    assert house.run(pos.cash_load(house.memories[0], house.line, house.card(1, 1), 900)).approved
    assert available(house) == before + 900
    kinds = [row["kind"] for row in house.of("journal") if row["state"] == "answered"]
    assert kinds == ["cash_load_verify", "cash_load", "cash_load_confirm"]
    at_rest(house)


# assisted withdrawal


def test_assisted_withdrawal_has_its_limit() -> None:
    house = House()
    memory, card = house.memories[0], house.card(1, 1)
    assert house.run(pos.assisted_withdrawal(memory, house.line, card, 60_000)).approved
    assert house.run(pos.assisted_withdrawal(memory, house.line, card, 40_001)).response_code == "61"
    taken = house.run(pos.assisted_withdrawal(memory, house.line, card, 40_000))
    assert taken.approved
    assert ask(house, memory, "0400", reversal_of(house, memory, taken.item)).fields[39] == "00"
    assert house.run(pos.assisted_withdrawal(memory, house.line, card, 40_000)).approved, "a reversal gives it back"


def test_assisted_withdrawal_wants_a_debit_card_and_its_pin() -> None:
    house = House()
    memory = house.memories[0]
    assert house.run(pos.assisted_withdrawal(memory, house.line, house.card(2, 1), 100)).response_code == "57"
    flow = pos.transact(memory, house.line, "assisted_withdrawal", house.card(1, 1), 100, pin=False)
    assert house.run(flow).response_code == "55"


# parameters


def test_parameters_and_status() -> None:
    house = House()
    memory = house.memories[0]
    signed_in(house)
    outcome = house.run(pos.parameters(memory, house.line))
    assert outcome.approved
    assert memory.parameters == load_profile("unionpay-pos").parameters  # type: ignore[union-attr]
    assert house.run(pos.status(memory, house.line)).approved
    fields = {41: memory.tid, 42: memory.mid, 60: "00" + memory.batch + "362", 62: b"99?"}
    assert ask(house, memory, "0820", fields).fields[39] == "30"


def test_parameters_that_break_off_change_nothing() -> None:
    house = House()
    memory = house.memories[0]
    signed_in(house)
    memory.parameters = {"12": "30"}
    house.run(pos.parameters(memory, house.line), patience_s=0.0)

    def run_out(name: str, send: Send) -> Send | None:
        return None if not send.link.name else send

    house.meddle = run_out
    memory.parameters = {"12": "30"}
    assert house.run(pos.parameters(memory, house.line), patience_s=1.0).state == "unknown"
    assert memory.parameters == {"12": "30"}


def test_a_parameter_nobody_knows_is_refused_with_the_profile() -> None:
    table = {"dialect": "pos", "name": "x", "suites": {}, "parameters": {"98": "1"}}
    with pytest.raises(ProfileError, match="parameter"):
        profile_from(table, "x")


# codes of another acquirer


def test_a_profile_renames_an_unverified_row() -> None:
    changes = {"transfer": CodesSection(processing_code="410000", condition="77", type_code="88")}
    shipped = load_profile("unionpay-pos")
    assert isinstance(shipped, PosProfile)
    behind = {
        name: (msgspec.structs.replace(profile, transactions=changes), banks)
        for name, (profile, banks) in standard_lines().items()
    }
    house = House(pos=msgspec.structs.replace(shipped, transactions=changes), behind=behind)
    memory, card = house.memories[0], house.card(1, 1)
    made = house.run(pos.transfer(memory, house.line, card, 800, house.card(3, 4).pan, load=False))
    assert made.approved
    fields = house.said("cups")[-1].fields
    assert (fields[3], fields[25]) == ("410000", "77")
    reversal = reversal_of(house, memory, made.item)
    assert (reversal[3], reversal[25], reversal[60][:2]) == ("410000", "77", "88")
    assert ask(house, memory, "0400", reversal).fields[39] == "00"
    made.item.reversal = "done"
    house.pass_time(5)
    at_rest(house)


@pytest.mark.parametrize(
    ("name", "codes", "told"),
    [
        ("nothing", {"condition": "01"}, "there is no 'nothing'"),
        ("transfer", {"condition": "1"}, "has not 2 digits"),
        ("transfer", {"processing_code": "000000", "type_code": "22"}, "the same codes"),
    ],
)
def test_codes_that_a_profile_may_not_have(name: str, codes: dict[str, str], told: str) -> None:
    table = {"dialect": "pos", "name": "x", "suites": {}, "transactions": {name: codes}}
    with pytest.raises(ProfileError, match=told):
        profile_from(table, "x")
