"""ATM and recycler: each doubt, power lost at each yield, and the cash against the other books."""

from collections.abc import Callable, Generator
from typing import Any

import pytest
from house import DAY, House
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.clearing.cash import CashBook, join_cash
from switch.clearing.schema import CASH, ERRORS, TERMINALS
from switch.issuer.centre import Centre
from switch.issuer.host import Bank
from switch.machine import Send
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK
from switch.wire.profile import NetworkProfile, PosProfile, load_profile
from switch.wire.transactions import BY_NAME
from terminals.device import atm, pos
from terminals.device.atm import AtmMemory, balance_machine
from terminals.device.cash import NOTES_MAX, Cassette, ErrorRecord, Fault, Key, Notes, Vault, pick, size, value
from terminals.device.cashbook import cash_rows, error_rows
from terminals.device.memory import terminals_rows
from terminals.drive.instant import run
from terminals.flow import Ask, Call, PowerOff, TimedOut

FULL: Notes = {10_000: 50, 5_000: 20}


class Street:
    """A house with two machines, and the person in front of one: how many notes they take, whether the card."""

    def __init__(self, rules: list[dict[str, Any]] | None = None, model: str = "CRS") -> None:
        self.house = House(2, rules, machines=2)
        machine = next(m for m, t in zip(self.house.memories, self.house.fleet, strict=True) if t.model == model)
        assert isinstance(machine, AtmMemory)
        self.machine = machine
        self.machine.vault.load(FULL)
        self.card = self.house.card(0, 1)
        self.takes: int | None = None
        self.takes_card = True
        self.accepts_less = True
        self.asked: list[str] = []

    def person(self, asked: Ask) -> Any:
        self.asked.append(asked.what)
        match asked.what:
            case "pin":
                return asked.about.pin
            case "cash":
                return size(asked.about) if self.takes is None else self.takes
            case "card":
                return self.takes_card
            case _:
                return self.accepts_less

    def run(self, flow: Any, host: Callable[[bytes], bytes | None] | None = None) -> Any:
        return run(flow, host or self.house.ask, self.person)

    def withdraw(self, amount: int = 50_000, host: Callable[[bytes], bytes | None] | None = None) -> Any:
        return self.run(atm.withdraw(self.machine, self.house.line, self.card, amount), host)

    def deposit(self, notes: Notes | None = None, host: Callable[[bytes], bytes | None] | None = None) -> Any:
        return self.run(atm.deposit(self.machine, self.house.line, self.card, notes or {10_000: 3, 5_000: 1}), host)

    def cash(self) -> CashBook:
        machines = [m for m in self.house.memories if isinstance(m, AtmMemory)]
        for machine in machines:
            machine.wake()
        return join_cash(
            [dict(zip(CASH.names, row, strict=True)) for row in cash_rows(machines)],
            [dict(zip(ERRORS.names, row, strict=True)) for row in error_rows(machines)],
            [dict(zip(TERMINALS.names, row, strict=True)) for row in terminals_rows(self.house.memories)],
        )

    def close(self) -> CashBook:
        """The end of the day: all put right, the machine counted, four books that agree."""
        self.run(pos.settle(self.machine, self.house.line))
        self.house.pass_time(400)
        assert self.machine.pending is None
        balance = balance_machine(self.machine, {})
        assert balance.agrees
        books = self.house.books()
        assert books.agreed, books.breaks
        cash = self.cash()
        assert cash.breaks == []
        assert cash.difference_minor == 0
        return cash

    def balance_minor(self) -> int:
        return self.run(atm.inquire(self.machine, self.house.line, self.card)).balance_minor or 0


def test_a_withdrawal_pays_and_all_books_agree() -> None:
    street = Street()
    before = street.balance_minor()
    outcome = street.withdraw(55_000)
    assert outcome.approved
    assert street.balance_minor() == before - 55_000
    assert street.asked.count("cash") == 1
    cash = street.close()
    assert cash.amounts["dispensed"] == 55_000
    assert cash.amounts["counted"] == value(FULL) - 55_000


@pytest.mark.parametrize("kind", ["atm_inquiry", "atm_withdrawal", "atm_deposit", "atm_transfer"])
def test_the_network_sees_a_machine(kind: str) -> None:
    street = Street()
    street.card = street.house.card(1, 1)
    said: list[Any] = []
    codec = codec_of(NETWORK)

    def listen(name: str, send: Send) -> Send:
        if name == "switch" and send.link.name == "cups":
            said.append(codec.decode(send.body))
        return send

    street.house.meddle = listen
    other = street.house.card(1, 3)
    flows = {
        "atm_inquiry": lambda: atm.inquire(street.machine, street.house.line, street.card),
        "atm_withdrawal": lambda: atm.withdraw(street.machine, street.house.line, street.card, 30_000),
        "atm_deposit": lambda: atm.deposit(street.machine, street.house.line, street.card, {10_000: 2}),
        "atm_transfer": lambda: atm.transfer(street.machine, street.house.line, street.card, 1_234, other.pan),
    }
    assert street.run(flows[kind]()).approved
    request = next(m for m in said if m.mti == "0200")
    assert request[3] == BY_NAME[kind].network_processing_code
    assert request[18] == "6011"
    assert request[25] == "02"
    assert request[60][8:10] == "01", "terminal type"
    assert request.fields.get(103) == (other.pan if kind == "atm_transfer" else None)
    street.close()


# the doubts of a withdrawal


def test_nothing_came_out_for_certain_is_reversed_whole() -> None:
    street = Street()
    before = street.balance_minor()
    street.machine.vault.faults.append(Fault("none"))
    outcome = street.withdraw()
    assert outcome.reason == "not dispensed"
    assert outcome.item.reversal == "done"
    street.house.pass_time(5)
    assert street.balance_minor() == before
    cash = street.close()
    assert (cash.reversals, cash.error_records.total(), cash.amounts["dispensed"]) == (1, 0, 0)


@pytest.mark.parametrize("after", [1, 2, 4])
def test_part_came_out_is_recorded_and_not_reversed(after: int) -> None:
    street = Street()
    before = street.balance_minor()
    street.machine.vault.faults.append(Fault("part", after))
    assert street.withdraw().reason == "partly dispensed"
    assert street.balance_minor() == before - 50_000
    assert not [m for m in street.house.said("core") if m.mti == "0420"]
    cash = street.close()
    assert (cash.reversals, cash.error_records["partly dispensed"]) == (0, 1)
    assert cash.error_minor == 50_000 - after * 10_000


@pytest.mark.parametrize("after", [0, 2, 5])
def test_unknown_waits_for_the_count(after: int) -> None:
    street = Street()
    street.machine.vault.faults.append(Fault("unknown", after))
    assert street.withdraw().reason == "unknown"
    record = street.machine.errors[0]
    assert record.state == "open"
    assert street.withdraw().reason == "no cash", "it pays nothing until it is counted"
    assert not [m for m in street.house.said("core") if m.mti == "0420"]
    assert [b.cause for b in street.cash().breaks if "never counted" in b.cause]
    cash = street.close()
    assert record.state == "counted"
    assert record.dispensed_minor == after * 10_000
    assert cash.error_minor == 50_000 - after * 10_000


@pytest.mark.parametrize("takes", [0, 2, 5])
def test_notes_left_at_the_shutter_are_retracted(takes: int) -> None:
    street = Street()
    street.takes = takes
    outcome = street.withdraw()
    assert outcome.reason == ("" if takes == 5 else "retracted")
    assert size(street.machine.vault.retract_bin) == 5 - takes
    cash = street.close()
    assert cash.amounts["retracted"] == (5 - takes) * 10_000
    assert cash.error_records.total() == (takes < 5)


def test_double_notes_go_to_the_reject_bin() -> None:
    street = Street()
    street.machine.vault.faults.append(Fault("reject", 2))
    assert street.withdraw().reason == ""
    cash = street.close()
    assert (cash.amounts["rejected"], cash.amounts["dispensed"]) == (20_000, 50_000)


def test_no_answer_to_a_withdrawal_pays_nothing_and_is_reversed() -> None:
    street = Street([{"action": "silence_after_posting", "kind": "atm_withdrawal"}])
    before = street.balance_minor()
    outcome = street.withdraw()
    assert not outcome.approved
    street.house.pass_time(5)
    assert street.balance_minor() == before
    assert street.close().amounts["dispensed"] == 0


def test_a_reversal_of_yesterday_becomes_an_error_record() -> None:
    street = Street()
    assert street.balance_minor()
    street.machine.vault.faults.append(Fault("none"))

    def cut(body: bytes) -> bytes | None:
        if body[:2] == b"\x04\x00":
            out: list[Any] = []
            centre = street.house.centres["core"]
            assert centre.cutover("1029", 1.0, street.house.now, out)
            street.house._perform("core", out)
            street.house.pass_time(10)
        return street.house.ask(body)

    street.run(atm.withdraw(street.machine, street.house.line, street.card, 50_000), cut)
    assert street.machine.errors[0].cause == "reversal refused"
    assert street.close().error_minor == 50_000


# deposits


def unheard(house: House, lose: str) -> Callable[[bytes], bytes | None]:
    """A host whose answer to a deposit, or the deposit itself, is lost."""

    def host(body: bytes) -> bytes | None:
        if body[:2] != b"\x02\x00":
            return house.ask(body)
        if lose == "answer":
            house.ask(body)
        return None

    return host


@pytest.mark.parametrize("lose", ["answer", "request"])
def test_an_unanswered_deposit_is_confirmed_once_and_never_reversed(lose: str) -> None:
    street = Street()
    before = street.balance_minor()
    outcome = street.deposit(host=unheard(street.house, lose))
    assert outcome.reason == "confirmed"
    assert street.balance_minor() == before + 35_000
    assert not [m for m in street.house.said("core") if m.mti == "0420"]
    cash = street.close()
    assert (cash.confirmations, cash.amounts["deposited"]) == (1, 35_000)


@pytest.mark.parametrize("action", ["silence", "silence_after_posting"])
@pytest.mark.parametrize("issuer", [0, 1])
def test_a_deposit_the_network_did_not_answer_is_confirmed(action: str, issuer: int) -> None:
    street = Street([{"action": action, "kind": "atm_deposit"}])
    street.card = street.house.card(issuer, 1)
    before = street.balance_minor()
    assert street.deposit().reason == "confirmed"
    street.house.pass_time(120)
    assert street.balance_minor() == before + 35_000
    assert street.close().confirmations == 1


def test_a_confirmation_is_repeated_until_it_stands() -> None:
    street = Street()
    before = street.balance_minor()
    street.deposit(host=lambda body: street.house.ask(body) if body[:2] == b"\x08\x00" else None)
    assert street.machine.pending is not None
    assert value(street.machine.vault.stock()) == value(FULL) + 35_000, "the notes are inside"
    assert street.balance_minor() == before + 35_000, "what is owed goes first"
    assert street.close().confirmations == 1


def test_a_declined_deposit_gives_the_notes_back() -> None:
    street = Street([{"action": "code", "kind": "atm_deposit", "code": "57"}])
    assert street.deposit().response_code == "57"
    assert street.machine.vault.escrow == {}
    assert street.close().amounts["deposited"] == 0


def test_a_recycler_pays_deposited_notes_out() -> None:
    street = Street()
    vault = street.machine.vault
    balance_machine(street.machine, {})
    assert vault.plan(20_000) is None
    assert street.deposit({10_000: 4}).approved
    assert street.withdraw(30_000).approved
    assert street.close().amounts["counted"] == value(FULL) + 10_000


def test_a_dispenser_keeps_deposited_notes_in_its_box() -> None:
    street = Street(model="ATM")
    balance_machine(street.machine, {})
    assert street.deposit({10_000: 4}).approved
    assert street.withdraw(10_000).reason == "no cash"
    assert street.close().amounts["counted"] == value(FULL) + 40_000


# cassettes and cards


def test_a_machine_offers_what_it_can_pay() -> None:
    street = Street()
    street.withdraw()
    balance_machine(street.machine, {10_000: 2, 5_000: 1})
    since = len(street.house.effects)
    street.accepts_less = False
    assert street.withdraw(100_000).reason == "no cash"
    assert len(street.house.effects) == since, "the host was not asked"
    street.accepts_less = True
    outcome = street.withdraw(100_000)
    assert outcome.amount_minor == 25_000
    assert street.withdraw(10_000).reason == "no cash"
    street.close()


def test_cards_are_kept_and_listed() -> None:
    street = Street([{"action": "code", "kind": "atm_withdrawal", "amount_minor": 20_000, "code": "04"}])
    assert street.withdraw(20_000).response_code == "04"
    street.takes_card = False
    assert street.withdraw(10_000).approved
    kept = street.machine.retained
    assert [(card.cause, card.response_code) for card in kept] == [("host", "04"), ("not taken", "")]
    assert all("******" in card.pan_masked for card in kept)
    street.close()


# power


def cut_flow(flow: Generator[Any, Any, Any], at: int, host: Callable[[bytes], Any], person: Any) -> bool:
    """Run a flow and cut the power at its `at`-th yield, after the world did its part; False if it ended before."""
    answer: Any = None
    for number in range(at + 1):
        try:
            effect = flow.send(answer)
        except StopIteration:
            return False
        if isinstance(effect, Call):
            answer = host(effect.body)
            assert answer is not None
        elif isinstance(effect, Ask):
            answer = person(effect)
        else:
            answer = None
        if number == at:
            with pytest.raises(PowerOff):
                flow.throw(PowerOff())
    return True


@pytest.mark.parametrize("fault", [None, "none", "part", "unknown"])
@pytest.mark.parametrize("at", range(8))
def test_power_lost_in_a_withdrawal(at: int, fault: str | None) -> None:
    street = Street()
    if fault:
        street.machine.vault.faults.append(Fault(fault, 2))  # type: ignore[arg-type]
    flow = atm.withdraw(street.machine, street.house.line, street.card, 50_000)
    cut_flow(flow, at, street.house.ask, street.person)
    street.house.pass_time(5)
    street.close()
    assert street.machine.dispensing is None


@pytest.mark.parametrize("wakes", [True, False])
@pytest.mark.parametrize("at", range(6))
def test_power_lost_in_a_deposit(at: int, wakes: bool) -> None:
    street = Street()
    street.deposit({10_000: 3}, host=unheard(street.house, "answer"))
    before = street.balance_minor()
    flow = atm.deposit(street.machine, street.house.line, street.card, {10_000: 3})
    cut_flow(flow, at, street.house.ask, street.person)
    if not wakes:
        street.run(pos.settle(street.machine, street.house.line))
    after = street.balance_minor()
    cash = street.close()
    assert after - before == cash.amounts["deposited"] - 30_000, "the holder has what the machine has"


def test_power_lost_while_confirming() -> None:
    street = Street()
    before = street.balance_minor()
    calls = 0

    def host(body: bytes) -> bytes | None:
        nonlocal calls
        calls += 1
        if body[:2] == b"\x02\x20":
            raise PowerOff
        if body[:2] == b"\x02\x00":
            raise TimedOut
        return street.house.ask(body)

    with pytest.raises(PowerOff):
        street.deposit(host=host)
    assert street.balance_minor() == before + 35_000
    assert street.close().confirmations == 1


# the fourth book


def played_rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    street = Street()
    street.withdraw()
    street.machine.vault.faults.append(Fault("part", 1))
    street.withdraw()
    street.deposit()
    street.close()
    machines = [m for m in street.house.memories if isinstance(m, AtmMemory)]
    return (
        [dict(zip(CASH.names, row, strict=True)) for row in cash_rows(machines)],
        [dict(zip(ERRORS.names, row, strict=True)) for row in error_rows(machines)],
        [dict(zip(TERMINALS.names, row, strict=True)) for row in terminals_rows(street.house.memories)],
    )


@pytest.fixture(scope="module")
def rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    return played_rows()


def test_each_changed_cash_row_is_found(rows: Any) -> None:
    cash, errors, terminals = rows
    assert join_cash(cash, errors, terminals).breaks == []
    for place in range(len(cash)):
        for change in ({"notes": cash[place]["notes"] + 1}, {"event": "rejected"}):
            if cash[place]["event"] == change.get("event"):
                continue
            if change.get("event") and not cash[place]["notes"]:
                continue
            changed = [*cash[:place], cash[place] | change, *cash[place + 1 :]]
            breaks = join_cash(changed, errors, terminals).breaks
            assert breaks, f"row {place + 1} {change}"
            machine = f"{cash[place]['mid']}/{cash[place]['tid']}"
            assert all(b.key.startswith(machine) for b in breaks)


def test_each_changed_error_record_is_found(rows: Any) -> None:
    cash, errors, terminals = rows
    for change in ({"difference_minor": 1}, {"stan": "999999"}, {"state": "open"}):
        assert join_cash(cash, [errors[0] | change], terminals).breaks, change
    assert join_cash(cash, [], terminals).breaks[0].short == "holder"


# arithmetic

NOTES = st.fixed_dictionaries({10_000: st.integers(0, 30), 5_000: st.integers(0, 30), 2_000: st.integers(0, 30)})


def brute(stock: Notes, amount: int) -> bool:
    return any(
        a * 10_000 + b * 5_000 + c * 2_000 == amount and a + b + c <= NOTES_MAX
        for a in range(stock[10_000] + 1)
        for b in range(stock[5_000] + 1)
        for c in range(stock[2_000] + 1)
    )


@settings(max_examples=150, deadline=None)
@given(stock=NOTES, amount=st.integers(0, 500).map(lambda n: n * 1_000))
def test_picked_notes_are_the_amount_and_are_there(stock: Notes, amount: int) -> None:
    picked = pick(stock, amount)
    assert (picked is not None) == brute(stock, amount)
    if picked is not None:
        assert value(picked) == amount
        assert size(picked) <= NOTES_MAX
        assert all(0 < count <= stock[denomination] for denomination, count in picked.items())


FAULTS = st.one_of(
    st.none(), st.builds(Fault, st.sampled_from(["none", "part", "unknown", "reject"]), st.integers(0, 8))
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["out", "in", "count"]), st.integers(1, 8), FAULTS, st.integers(0, 12)), max_size=25
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_every_count_agrees_whatever_went_wrong(steps: list[Any]) -> None:
    vault = Vault([Cassette(10_000, recycles=True), Cassette(5_000)])
    vault.load({10_000: 20, 5_000: 20})
    errors: list[ErrorRecord] = []
    for number, (what, notes, fault, taken) in enumerate(steps):
        key = Key("000001", f"{number:06d}")
        if what == "count":
            assert vault.count(errors).agrees
            vault.load({10_000: 20, 5_000: 20})
        elif what == "in":
            vault.accept({10_000: notes, 5_000: 1})
            vault.store(key, "")
        elif (planned := vault.plan(notes * 5_000)) is not None:
            vault.faults.extend([fault] if fault else [])
            done = vault.dispense(planned, key, "")
            assert size(done.notes) <= size(planned)
            if done.outcome == "unknown":
                errors.append(ErrorRecord(key, value(planned), planned, "", "unknown", "open"))
            else:
                vault.taken(done.notes, taken, key, "")
    assert vault.count(errors).agrees
    assert all(count == 0 for count in vault.expected().values())


# restarts, batches and profiles


@pytest.mark.parametrize("lose", ["answer", "request"])
def test_the_switch_restarts_between_deposit_and_confirmation(lose: str) -> None:
    street = Street()
    house = street.house
    before = street.balance_minor()

    def host(body: bytes) -> bytes | None:
        if body[:2] == b"\x02\x20":
            return None
        return unheard(house, lose)(body)

    street.deposit(host=host)
    house.restart_switch()
    assert street.balance_minor() == before + 35_000
    assert street.close().confirmations == 1


def test_the_confirmed_deposit_counts_once_in_the_batch() -> None:
    street = Street()
    assert street.deposit().approved
    street.deposit(host=unheard(street.house, "answer"))
    settled = street.run(pos.settle(street.machine, street.house.line))
    assert settled.reason == "balanced"
    assert settled.totals.credit_count == 2
    street.close()


def test_a_confirmation_waits_for_a_line_that_is_down() -> None:
    street = Street()
    before = street.balance_minor()

    def host(body: bytes) -> bytes | None:
        if body[:2] == b"\x02\x00":
            street.house.ask(body)
            street.house.disconnect("core")
            return None
        return street.house.ask(body)

    assert street.deposit(host=host).reason == "confirmed", "the switch holds it for the core"
    street.house.connect("core")
    street.house.pass_time(10)
    assert street.balance_minor() == before + 35_000
    street.close()


def test_a_core_that_restarts_remembers_what_was_confirmed() -> None:
    street = Street()
    street.deposit(host=unheard(street.house, "answer"))
    street.deposit({10_000: 1}, host=unheard(street.house, "request"))
    balance = street.balance_minor()
    house = street.house
    house.disconnect("core")
    hsm, profile = house.centres["core"].banks[0]._hsm, load_profile("core")
    assert isinstance(profile, NetworkProfile)
    fresh = Centre(
        "core", profile, profile.header.destination, [Bank(house.portfolio, 0, hsm)], hsm, settlement_date=DAY
    )
    fresh.recover(house.ledgers["core"])
    house.centres["core"] = fresh
    house.connect("core")
    house.pass_time(2)
    assert street.balance_minor() == balance


def test_the_shipped_profile_is_the_terminals_link() -> None:
    profile = load_profile("unionpay-atm")
    assert isinstance(profile, PosProfile)
    assert profile.suites == street_profile().suites


def street_profile() -> PosProfile:
    profile = load_profile("unionpay-pos")
    assert isinstance(profile, PosProfile)
    return profile
