"""When the answer does not come, or cannot be believed, or the power fails: what the terminal owes, and how it pays."""

from collections.abc import Iterator
from typing import Any

import pytest
from terminals_host import CODEC, HeldCard, ScriptedHost, holder, new_line, new_memory, silence, wrong_mac

from switch.wire.transactions import BY_NAME, CHAINS, ROWS
from terminals.device import pos
from terminals.device.dialogue import Outcome
from terminals.device.memory import Item, Memory
from terminals.drive.instant import cut_at, run
from terminals.flow import Flow, HostUnreachable, PowerOff
from terminals.goods import extras

CARD = HeldCard()
LINE = new_line()
REVERSIBLE = [row.name for row in ROWS if row.reversible and not row.chip]


class Bench:
    """A terminal that is signed in, and its host."""

    def __init__(self, suite: str = "3des") -> None:
        self.memory: Memory = new_memory(suite)
        self.host = ScriptedHost(suite)
        self.run(pos.sign_in(self.memory, LINE))

    def run(self, flow: Flow[Outcome], *script: Any) -> Outcome:
        self.host.script.extend(script)
        return run(flow, self.host, holder)

    def sale(self, *script: Any, amount_minor: int = 700) -> Outcome:
        return self.run(pos.sale(self.memory, LINE, CARD, amount_minor), *script)

    def new(self, kind: str) -> Flow[Outcome]:
        """A dialogue of this kind, its original already in the book."""
        original: Item | None = None
        for earlier in CHAINS[kind]:
            original = self.run(self.flow(earlier, original)).item
        return self.flow(kind, original)

    def flow(self, kind: str, original: Item | None) -> Flow[Outcome]:
        row = BY_NAME[kind]
        more = extras(row, CARD.pan)
        return pos.transact(self.memory, LINE, kind, CARD, 700 if row.amount else 0, original, **more)


def changed(**changes: Any) -> Any:
    """A script entry: the usual answer with fields changed (`de4="..."`) under a good MAC."""
    return lambda request, fields: fields | {int(name[2:]): value for name, value in changes.items()}


@pytest.mark.parametrize(
    ("answer", "reason", "code"),
    [
        (silence, "timed out", "98"),
        (HostUnreachable(), "unreachable", "98"),
        (wrong_mac, "bad MAC", "A0"),
        (lambda request, fields: b"\x02\x10" + bytes(8), "bad reply", "96"),
        (lambda request, fields: b"", "bad reply", "96"),
        (changed(de11="000999"), "bad reply", "96"),
        (changed(de41="99999999"), "bad reply", "96"),
        (changed(de42="999999999999999"), "bad reply", "96"),
        (changed(de4="000000000701"), "bad reply", "96"),
    ],
)
def test_a_sale_without_a_good_answer_is_reversed_first(answer: Any, reason: str, code: str) -> None:
    bench = Bench()
    doubtful = bench.sale(answer)
    item = doubtful.item
    assert item is not None
    assert (doubtful.state, doubtful.reason, item.state, item.reversal) == ("unknown", reason, "unknown", "pending")
    assert bench.memory.totals() == (0, 0, 0, 0)
    assert bench.sale().approved
    assert bench.host.mtis == ["0800", "0200", "0400", "0200"]
    request, reversal = bench.host.asked[1:3]
    fields = dict(reversal.fields)
    assert len(fields.pop(64)) == 8
    assert fields == {
        2: CARD.pan, 3: "000000", 4: "000000000700", 11: request[11], 14: CARD.expiry, 22: "021", 25: "00", 39: code,
        41: bench.memory.tid, 42: bench.memory.mid, 49: "156", 60: request[60],
    }  # fmt: skip
    assert (item.state, item.reversal, bench.memory.pending) == ("unknown", "done", None)


def test_an_approval_without_mac_is_not_believed() -> None:
    bench = Bench()

    def bare(request: Any, fields: dict[int, Any]) -> bytes:
        return CODEC.encode("0210", dict(sorted(fields.items())))

    assert bench.sale(bare).reason == "bad MAC"
    assert bench.memory.pending is not None
    assert bench.memory.pending.reason == "A0"


@pytest.mark.parametrize("kind", REVERSIBLE)
def test_every_reversible_kind_owes_its_reversal(kind: str) -> None:
    bench = Bench()
    flow = bench.new(kind)
    doubtful = bench.run(flow, silence)
    request = bench.host.asked[-1]
    assert doubtful.state == "unknown"
    assert bench.run(pos.put_right(bench.memory, LINE)).approved
    reversal = bench.host.asked[-1]
    assert reversal.mti == "0400"
    for de in (3, 4, 11, 25, 60):
        assert reversal[de] == request[de]
    assert reversal.fields.get(61) == request.fields.get(61)
    assert not reversal.fields.keys() & {35, 36, 52, 26, 53, 62, 63}
    original = doubtful.item.source if doubtful.item else None
    assert original is None or not original.undone


@pytest.mark.parametrize(("code", "reversal"), [("00", "done"), ("12", "done"), ("25", "refused")])
def test_answers_that_end_a_reversal(code: str, reversal: str) -> None:
    bench = Bench()
    item = bench.sale(silence).item
    assert item is not None
    assert bench.sale(code).approved
    assert (item.reversal, bench.memory.pending) == (reversal, None)


def test_nothing_new_leaves_while_a_reversal_stands() -> None:
    bench = Bench()
    bench.sale(silence)
    for answers in ([silence, silence, silence], ["96", "91", HostUnreachable()]):
        outcome = bench.sale(*answers)
        assert (outcome.state, outcome.reason) == ("unsent", "reversal")
    pending = bench.memory.pending
    assert pending is not None
    assert pending.tries == 6
    assert bench.host.mtis == ["0800", "0200", *["0400"] * 6]
    assert len(bench.memory.items) == 1
    assert bench.sale().approved


@pytest.mark.parametrize("code", ["77", "99", "A0"])
def test_a_reversal_signs_in_again_where_the_host_asks_for_it(code: str) -> None:
    bench = Bench()
    bench.sale(silence)
    assert bench.sale(code).approved
    assert bench.host.mtis == ["0800", "0200", "0400", "0800", "0400", "0200"]


def test_a_reversal_keeps_its_batch_when_the_sign_in_brings_another() -> None:
    bench = Bench()
    bench.sale(silence)
    bench.memory.signed_in = False
    bench.host.batch = "000002"
    assert bench.sale().approved
    assert [request[60][2:8] for request in bench.host.asked] == ["000000", "000001", "000001", "000001", "000002"]
    assert (len(bench.memory.closed), bench.memory.closed[0].reversal) == (1, "done")


def test_a_refund_is_repeated_not_reversed() -> None:
    bench = Bench()
    refund = bench.run(bench.new("refund"), silence)
    item = refund.item
    assert item is not None
    assert (refund.state, item.reversal) == ("unknown", "none")
    blocked = bench.sale(silence, wrong_mac, "96")
    assert (blocked.state, blocked.reason) == ("unsent", "advice")
    assert bench.sale().approved
    first, *repeats = bench.host.of("0220")
    assert len(repeats) == 4
    for repeat in repeats:
        assert {de: repeat[de] for de in (3, 4, 11, 37, 61, 63)} == {de: first[de] for de in (3, 4, 11, 37, 61, 63)}
        assert (repeat[2], 35 in repeat) == (CARD.pan, False)
    assert item.state == "approved"
    assert bench.host.mtis[-1] == "0200"
    assert bench.memory.totals().credit_count == 1


@pytest.mark.parametrize(("code", "state"), [("00", "approved"), ("94", "approved"), ("51", "declined")])
def test_the_answer_to_a_repeated_refund_is_final(code: str, state: str) -> None:
    bench = Bench()
    item = bench.run(bench.new("refund"), silence).item
    assert item is not None
    assert bench.run(pos.put_right(bench.memory, LINE), code).state == state
    assert (item.state, bench.memory.pending) == (state, None)


@pytest.mark.parametrize("suite", ["3des", "sm4"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", REVERSIBLE)
def test_power_off_at_every_call_is_put_right(kind: str, after: bool, suite: str) -> None:
    """Kill the dialogue at each of its calls: afterwards the host knows of no approval that the terminal does not."""
    calls = 0
    while True:
        bench = Bench(suite)
        flow = bench.new(kind)
        bench.memory.signed_in = False  # so that the sign-in is one of the calls
        try:
            run(flow, cut_at(calls, bench.host, after), holder)
            break
        except PowerOff:
            calls += 1
        bench.host.asked.clear()
        owed = bench.memory.pending
        assert (owed is not None) == (calls == 2)
        assert bench.sale().approved
        assert bench.memory.pending is None
        mtis = [mti for mti in bench.host.mtis if mti != "0800"]
        assert mtis == (["0400", "0200"] if owed else ["0200"])
        if owed:
            assert owed.item.reversal == "done"
            assert bench.host.of("0400")[0][39] == "98"
    assert calls == 2


def effects(flow: Flow[Outcome], host: ScriptedHost, stop: int) -> Iterator[Any]:
    """Run a flow up to its `stop`-th yield and leave it there."""
    answer: Any = None
    for _ in range(stop + 1):
        effect = flow.send(answer)
        yield effect
        answer = host(effect.body) if hasattr(effect, "body") else holder(effect)


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_a_closed_generator_is_a_loss_of_power(stop: int) -> None:
    bench = Bench()
    bench.memory.signed_in = False
    flow = pos.sale(bench.memory, LINE, CARD, 700)
    kinds = [type(effect).__name__ for effect in effects(flow, bench.host, stop)]
    flow.close()
    assert kinds == ["Call", "Ask", "Call"][: stop + 1]
    assert (bench.memory.pending is not None) == (stop == 2)
    assert bench.sale().approved
    assert bench.memory.pending is None


def test_power_off_during_the_reversal_keeps_the_debt() -> None:
    bench = Bench()
    bench.sale(silence)
    for after in (False, True):
        with pytest.raises(PowerOff):
            run(pos.sale(bench.memory, LINE, CARD, 1), cut_at(0, bench.host, after), holder)
        assert bench.memory.pending is not None
    assert bench.memory.pending.tries == 2
    assert bench.sale().approved
