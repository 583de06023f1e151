"""The operator's back office: files twice or in pieces, power lost at every step, what the issuer gets."""

from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from datetime import timedelta
from functools import lru_cache
from typing import Any

import apsw
import pytest
from cards import entropy
from house import LMK, SEED, House
from test_validator import NOON, Field, ride

from switch.clearing.ecash import join_e_cash
from switch.clearing.schema import OFFLINE
from switch.crypto.errors import CryptoError
from switch.crypto.hsm import Hsm
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire import tlv
from terminals.card.mint import Minter
from terminals.card.signing import ca_keys
from terminals.device import backoffice, pos, validator
from terminals.device.backoffice import FATES, FILES, HASH, STORE, TAPS, BackOffice, Row, TapStore
from terminals.device.chipbook import export_chips
from terminals.device.taps import FAULT, Lists, Tap, TapFile, write_file
from terminals.device.transitbook import export_held, held_rows
from terminals.device.validator import ValidatorMemory
from terminals.drive.instant import run
from terminals.fleet import mint_operators, validator_of
from terminals.flow import HostUnreachable, PowerOff
from terminals.kernel.parameters import demo_parameters

KERNEL = validator.reader(demo_parameters(ca_keys()), entropy)
ALL = f"SELECT * FROM {OFFLINE.name} ORDER BY number"
OPERATOR = mint_operators(SEED, 1, 2)[0]


@lru_cache(1)
def ridden() -> tuple[ValidatorMemory, ...]:
    """Two validators after a morning: five rides of three cards, never changed by anybody."""
    portfolio = Portfolio(SEED, STANDARD_ISSUERS, 1000)
    found = (n for n in range(1000) if (card := portfolio.card(1, n)).chip == "dual" and card.expiry > "2612")
    gates = [validator_of(OPERATOR, one) for one in OPERATOR.validators]
    for place in range(3):
        card = portfolio.card(1, next(found))
        icc = Minter(portfolio, SEED).icc(card, entropy, interface="contactless")
        for turn, gate in enumerate(gates[: 2 if place < 2 else 1]):
            assert ride(gate, KERNEL, Field(icc), NOON + timedelta(minutes=10 * turn)).open
    return tuple(gates)


class Town:
    """A house, an operator with two validators and its back office, which dies at each step of `cuts`.

    A step is a row that becomes durable, or a message before it is heard or after it was answered.
    """

    def __init__(self, *cuts: int) -> None:
        self.house = House(1, operators=1)
        self.gates = deepcopy(list(ridden()))
        self.rides = sum(len(gate.taps) for gate in self.gates)
        self.fares = sum(tap.amount_minor for gate in self.gates for tap in gate.taps)
        self.terminals = [m for m in self.house.memories if isinstance(m, backoffice.OfficeMemory)]
        self.durable: list[Row] = []
        self.steps = 0
        self.cuts = cuts
        self.hsm = Hsm(LMK, entropy)
        self.hsm.generate(STORE, "store", "aes", 32)
        self.hsm.generate(HASH, "hash", "aes", 32)
        self.office = self.fresh()

    def fresh(self) -> BackOffice:
        office = BackOffice(self.hsm, self.persist, OPERATOR.lists, self.terminals)
        office.recover(self.durable)
        return office

    def step(self) -> None:
        self.steps += 1
        if self.steps - 1 in self.cuts:
            raise PowerOff

    def persist(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.step()
            self.durable.append(row)
        self.step()

    def over(self, host: Callable[[bytes], bytes | None]) -> Callable[[bytes], bytes | None]:
        def carried(body: bytes) -> bytes | None:
            self.step()
            reply = host(body)
            self.step()
            return reply

        return carried

    def nobody(self, asked: Any) -> Any:
        raise AssertionError(asked.what)

    def day(self) -> None:
        """Files in, taps up; begun again after a loss of power, by an office that knows its rows alone."""
        for gate in self.gates:
            gate.wake(NOON + timedelta(hours=1))
            gate.close_file()
        for gate in self.gates:
            run(validator.deliver(gate), self.over(self.office.receive), self.nobody)
        for memory in self.terminals:
            run(backoffice.upload(self.office, memory, self.house.line, 3), self.over(self.house.ask), self.nobody)

    def live(self) -> None:
        while True:
            try:
                return self.day()
            except PowerOff:
                self.office = self.fresh()

    def paid(self) -> list[dict[str, Any]]:
        return [row for row in self.house.chip_rows() if row["event"] == "offline"]


def check(town: Town) -> None:
    """Every ride paid for once, everywhere."""
    assert [gate.files for gate in town.gates] == [[], []]
    assert town.office.waiting == 0
    assert len(town.office.of("delivered")) == town.rides == len(town.office.rides)
    assert len(town.paid()) == town.rides
    assert sum(row["amount"] for row in town.paid()) == town.fares
    assert Counter((row["card_ref"], row["atc"]) for row in town.paid()).most_common(1)[0][1] == 1
    items = [item for memory in town.terminals for item in (*memory.closed, *memory.items)]
    assert [item.state for item in items] == ["approved"] * town.rides
    books = town.house.books()
    assert books.agreed, books.breaks


def test_a_day_of_buses_reaches_the_issuer() -> None:
    town = Town()
    town.live()
    check(town)
    assert town.rides == 5
    tables = Counter(row.table for row in town.durable)
    assert tables == {TAPS.name: 5, FILES.name: 2, FATES.name: 5}
    fates = [dict(zip(FATES.names, row.row, strict=True)) for row in town.durable if row.table == FATES.name]
    assert {fate["state"] for fate in fates} == {"delivered"}
    assert {fate["settlement_date"] for fate in fates} == {"1028"}
    assert {fate["tid"] for fate in fates} == {memory.tid for memory in town.terminals}


def test_what_the_acquirer_is_sent() -> None:
    town = Town()
    asked: list[bytes] = []

    def listen(body: bytes) -> bytes | None:
        asked.append(body)
        return town.house.ask(body)

    for gate in town.gates:
        gate.close_file()
        run(validator.deliver(gate), town.office.receive, town.nobody)
    run(backoffice.upload(town.office, town.terminals[0], town.house.line), listen, town.nobody)
    sent = [m for m in map(town.house.line.codec.decode, asked) if m.mti == "0200"]
    assert len(sent) == 5
    tap = ridden()[0].taps[0]
    first = sent[0]
    assert (first[3], first[22], first[23], first[25], first[63]) == ("000000", "072", "001", "00", b"CUP")
    assert (first[60][:2], first[60][11:13]) == ("36", "60")
    assert first[55] == tap.icc_data
    assert int(first[4]) == tap.amount_minor
    assert 52 not in first.fields
    assert 35 not in first.fields


def steps_of_a_day() -> int:
    town = Town()
    town.live()
    return town.steps


def test_nothing_is_lost_or_doubled_wherever_power_goes() -> None:
    steps = steps_of_a_day()
    assert steps > 35
    for cut in range(steps):
        town = Town(cut)
        town.live()
        assert town.steps > cut
        try:
            check(town)
        except AssertionError as error:
            raise AssertionError(f"cut at step {cut}") from error


def test_nor_where_it_goes_twice() -> None:
    steps = steps_of_a_day()
    for first in range(1, steps, 4):
        for second in range(first + 1, steps + 4, 7):
            town = Town(first, second)
            town.live()
            check(town)


@pytest.mark.parametrize("broken", range(4))
def test_a_flaky_link_delivers_each_file_once(broken: int) -> None:
    town = Town()
    for gate in town.gates:
        gate.close_file()
    calls = 0

    def flaky(body: bytes) -> bytes | None:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise HostUnreachable
        if calls % 4 == broken:
            town.office.receive(body)
            return None
        reply = town.office.receive(body[: -1 - broken] if calls % 5 == broken else body)
        return reply[:-1] if calls % 7 == broken else reply

    for _ in range(20):
        for gate in town.gates:
            run(validator.deliver(gate), flaky, town.nobody)
    assert [gate.files for gate in town.gates] == [[], []]
    assert len(town.office.rides) == town.rides
    assert len(town.office.files) == 2


def test_the_acquirer_away_and_back() -> None:
    town = Town()
    for gate in town.gates:
        gate.close_file()
        run(validator.deliver(gate), town.office.receive, town.nobody)
    memory, heard = town.terminals[0], 0

    def deaf(body: bytes) -> bytes | None:
        nonlocal heard
        if town.house.line.codec.decode(body).mti == "0200":
            heard += 1
            town.house.ask(body)
            return None
        return town.house.ask(body)

    gone = run(backoffice.upload(town.office, memory, town.house.line), deaf, town.nobody)
    assert gone == (0, 0, "timed out")
    assert heard == 1
    # Another terminal does not send what this one has not heard of.
    done = run(backoffice.upload(town.office, town.terminals[1], town.house.line), town.house.ask, town.nobody)
    assert done == (4, 0, "")
    assert town.office.waiting == 1
    done = run(backoffice.upload(town.office, memory, town.house.line), town.house.ask, town.nobody)
    assert done == (1, 0, "")
    assert town.office.counts["answered 94"] == 1
    check(town)


@pytest.mark.parametrize("code", ["91", "96", "98", "68"])
def test_an_answer_that_decides_nothing_leaves_the_tap_waiting(code: str) -> None:
    town = Town()
    for gate in town.gates:
        gate.close_file()
        run(validator.deliver(gate), town.office.receive, town.nobody)
    codec, memory = town.house.line.codec, town.terminals[0]

    def unable(body: bytes) -> bytes | None:
        request = codec.decode(body)
        if request.mti != "0200":
            return town.house.ask(body)
        fields = {de: request[de] for de in (3, 11, 25, 41, 42)} | {39: code}
        return codec.encode("0210", dict(sorted(fields.items())))

    assert run(backoffice.upload(town.office, memory, town.house.line), unable, town.nobody) == (0, 0, code)
    assert town.office.waiting == 5
    town.live()
    check(town)


def forged(tap: Tap) -> Tap:
    values = dict(tlv.read(tap.icc_data))
    values["9F26"] = bytes((values["9F26"][0] ^ 1,)) + values["9F26"][1:]
    return tap._replace(icc_data=tlv.write(list(values.items())))


def test_a_forged_certificate_is_on_the_failed_list() -> None:
    town = Town()
    gate = town.gates[0]
    gate.taps[0] = forged(gate.taps[0])
    town.live()
    [failed] = town.office.of("refused")
    assert (failed.response_code, failed.tap.number) == ("05", 1)
    assert len(town.office.of("delivered")) == town.rides - 1
    assert len(town.paid()) == town.rides - 1
    assert town.house.books().agreed


def test_a_second_certificate_of_one_counter_is_not_claimed() -> None:
    town = Town()
    first, second = town.gates
    second.taps.append(forged(first.taps[0])._replace(number=9))
    town.live()
    [listed] = town.office.of("listed")
    assert (listed.tap.reason, listed.validator) == ("other certificate", second.tid)
    assert len(town.paid()) == town.rides
    again = write_file(TapFile(second.tid, 77, (forged(ridden()[0].taps[0])._replace(number=10),)))
    assert town.office.receive(again).startswith(b"TAKEN")
    assert town.fresh().receive(again).startswith(b"TAKEN")
    assert len(town.office.rides) == len(town.fresh().rides) == town.rides + 1


def test_a_listed_tap_is_kept_and_never_claimed() -> None:
    town = Town()
    gate = town.gates[0]
    gate.taps[0] = gate.taps[0]._replace(state="listed", reason="torn")
    town.live()
    assert [one.tap.reason for one in town.office.of("listed")] == ["torn"]
    assert len(town.paid()) == town.rides - 1


def test_a_file_that_comes_again_under_another_number_doubles_nothing() -> None:
    town = Town()
    file = town.gates[0].close_file()
    assert file is not None
    for number in (1, 1, 2, 3):
        town.office.receive(write_file(file._replace(number=number)))
    assert len(town.office.rides) == len(file.taps)
    assert (town.office.counts["repeated files"], town.office.counts["repeated taps"]) == (1, 2 * len(file.taps))


@pytest.mark.parametrize("body", [b"", b"|", b"HELLO", b"TAPS1|x", b"LIST|9|a|b", b"LIST|", b"\xff" * 50])
def test_what_is_no_file_is_answered_so(body: bytes) -> None:
    town = Town()
    assert town.office.receive(body).startswith(FAULT.encode())
    assert (town.durable, town.office.rides) == ([], {})


def test_lists_come_by_pages_and_hold_from_the_next_tap() -> None:
    town = Town()
    gate = town.gates[0]
    pans = frozenset(f"62282{n:014d}" for n in range(450))
    lists = Lists(2, pans, ((gate.line, gate.zone, 990),), 3)
    town.office.lists = lists
    pages = 0

    def count(body: bytes) -> bytes:
        nonlocal pages
        pages += 1
        return town.office.receive(body)

    def until(lost: int) -> Callable[[bytes], bytes | None]:
        return lambda body: count(body) if pages < lost else None

    for lost in range(3):
        assert run(validator.download(gate), until(lost), town.nobody) == "timed out"
        assert gate.lists.version == 1
        pages = 0
    assert run(validator.download(gate), count, town.nobody) == ""
    assert (pages, gate.lists, gate.fare) == (3, lists, 990)
    assert run(validator.download(gate), count, town.nobody) == ""
    assert pages == 4


def test_lists_that_change_on_the_way_are_not_mixed() -> None:
    town = Town()
    gate = town.gates[0]
    town.office.lists = Lists(2, frozenset(f"62282{n:014d}" for n in range(300)))

    def change(body: bytes) -> bytes:
        reply = town.office.receive(body)
        town.office.lists = Lists(3, frozenset(f"62283{n:014d}" for n in range(300)))
        return reply

    assert run(validator.download(gate), change, town.nobody) == "bad reply"
    assert gate.lists.version == 1
    assert run(validator.download(gate), town.office.receive, town.nobody) == ""
    assert gate.lists.version == 3


def test_no_row_holds_a_card_in_clear(tmp_path: Any) -> None:
    town = Town()
    town.live()
    pans = {tap.pan for gate in ridden() for tap in gate.taps}
    assert len(pans) == 3
    text = repr(town.durable).encode() + b"".join(
        value for row in town.durable for value in row.row if isinstance(value, bytes)
    )
    for pan in pans:
        assert pan.encode() not in text
        assert bytes.fromhex(pan + "F" * (len(pan) % 2)) not in text
        assert pan not in repr(town.office) + repr(list(town.office.rides.values()))
    path = tmp_path / "taps.db"
    store = TapStore(path)
    store.append(town.durable)
    store.close()
    again = TapStore(path)
    assert again.rows() == town.durable
    again.close()


def test_a_seal_of_another_key_does_not_open() -> None:
    town = Town()
    town.live()
    town.hsm.generate(STORE, "store", "aes", 32)
    town.hsm = Hsm(LMK, lambda n: bytes(at & 0xFF for at in range(n)))
    town.hsm.generate(STORE, "store", "aes", 32)
    town.hsm.generate(HASH, "hash", "aes", 32)
    with pytest.raises(CryptoError):
        town.fresh()


def test_what_the_books_are_told_of_certificates_on_their_way(tmp_path: Any) -> None:
    town = Town()
    path, reference = tmp_path / "terminals.db", town.house.portfolio.reference

    def told() -> Counter[str]:
        export_chips(town.house.memories, (), reference, path)
        export_held(town.gates, [town.office], reference, path)
        rows = [dict(zip(OFFLINE.names, row, strict=True)) for row in apsw.Connection(str(path)).execute(ALL)]
        assert [row["number"] for row in rows] == list(range(1, 6))
        assert sum(row["amount"] for row in rows) == town.fares
        assert len({(row["card_ref"], row["atc"]) for row in rows}) == 5
        return Counter(row["state"] for row in rows)

    assert told() == {"held": 5}
    for gate in town.gates:
        gate.close_file()
    run(validator.deliver(town.gates[0]), town.office.receive, town.nobody)
    assert told() == {"held": 5}
    town.office.receive(write_file(town.gates[1].files[0]))  # the answer was lost: both have it
    assert told() == {"held": 5}
    run(backoffice.upload(town.office, town.terminals[0], town.house.line), lambda body: None, town.nobody)
    assert told() == {"held": 5}
    run(backoffice.upload(town.office, town.terminals[0], town.house.line, 2), town.house.ask, town.nobody)
    assert told() == {"held": 3, "delivered": 2}
    town.live()
    assert told() == {"delivered": 5}


def test_the_equation_of_electronic_cash_holds_with_buses_in_it() -> None:
    town = Town()
    rows = held_rows(town.gates, [town.office], town.house.portfolio.reference)
    offline = [dict(zip(OFFLINE.names, row, strict=True)) for row in rows]
    spent: Counter[str] = Counter()
    for gate in ridden():
        for tap in gate.taps:
            spent[town.house.portfolio.reference(tap.pan)] += tap.amount_minor
    cards = [
        {"card_ref": ref, "pan_masked": "", "balance_minor": 10_000 - minor, "issued_minor": 10_000}
        for ref, minor in spent.items()
    ]
    before = join_e_cash(town.house.chip_rows(), cards, offline)
    assert (before.breaks, before.held_minor, before.difference_minor) == ([], town.fares, 0)
    town.live()
    after = join_e_cash(town.house.chip_rows(), cards, [])
    assert (after.breaks, after.uploaded_minor, after.difference_minor) == ([], town.fares, 0)
    lost = join_e_cash(town.house.chip_rows()[:-1], cards, [])
    assert [item.short for item in lost.breaks] == ["holder"]


def test_the_terminals_of_the_office_settle() -> None:
    town = Town()
    town.live()
    memory = town.terminals[0]
    outcome = run(pos.settle(memory, town.house.line), town.house.ask, town.nobody)
    assert (outcome.approved, outcome.reason) == (True, "balanced")
