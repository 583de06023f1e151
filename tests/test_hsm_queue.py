"""The model of an HSM: a rate, a queue, a clock in the test's hand. And the store that packs a terminal's keys."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from switch.crypto.metered import MeteredHsm
from switch.crypto.records import KeyRecord, Records
from switch.engine.hsmqueue import HsmQueue
from switch.machine import Arm, Link, Now, Out, Post, Send
from terminals.muster import limit


class Pad:
    """Counts what it is asked."""

    operations = 0


class Desk:
    """A machine that asks `frame` commands of the pad, writes a row and answers after it."""

    def __init__(self, pad: Pad) -> None:
        self.pad = pad
        self.rows = 0

    def receive(self, link: Link, frame: Any, now: Now, out: Out) -> None:
        self.pad.operations += frame
        self.rows += 1
        out.append(Post(self.rows, "journal", (self.rows,)))
        out.append(Send(link, b"answer %d" % self.rows, after=self.rows))

    def receive_bad(self, link: Link, error: Exception, now: Now, out: Out) -> None: ...

    def tick(self, now: Now, out: Out) -> None: ...

    def link_up(self, link: Link, now: Now, out: Out) -> None: ...

    def link_down(self, link: Link, now: Now, out: Out) -> None: ...


def queue(rate: int = 10) -> HsmQueue:
    pad = Pad()
    return HsmQueue(Desk(pad), pad, rate)


def at(seconds: float) -> Now:
    return Now(100.0 + seconds, 0.0)


def sent(out: Out) -> list[bytes]:
    return [effect.body for effect in out if isinstance(effect, Send)]


def test_answers_leave_when_the_hsm_is_done_in_their_order() -> None:
    model, link, out = queue(), Link(1), []
    for commands in (3, 0, 2):
        model.receive(link, commands, at(0), out)
    assert sent(out) == [b"answer 2"]  # it needed no key
    assert [effect.number for effect in out if isinstance(effect, Post)] == [1, 2, 3]
    assert min(effect.at for effect in out if isinstance(effect, Arm)) == pytest.approx(100.3)
    assert model.waiting(at(0)) == 5

    for seconds, said in ((0.29, []), (0.3, [b"answer 1"]), (0.49, []), (0.51, [b"answer 3"])):
        out = []
        model.tick(at(seconds), out)
        assert sent(out) == said, seconds
    assert [effect for effect in out if isinstance(effect, Arm)] == []
    assert model.waiting(at(0.51)) == 0


def test_waiting_is_counted_from_the_asking_to_the_beginning() -> None:
    model, link = queue(), Link(1)
    for _ in range(4):
        model.receive(link, 5, at(0), [])
    model.receive(link, 1, at(10), [])  # long after: the queue is empty again
    assert model.operations == 21
    assert model.waits.count == 5
    assert model.waits.total == pytest.approx(0 + 0.5 + 1.0 + 1.5 + 0)
    assert model.longest == 20
    assert model.status() == {
        "rate": 10, "operations": 21, "busy_s": 2.1, "wait_mean_s": 0.6, "queue_max": 20,
    }  # fmt: skip


def test_a_tick_says_when_the_next_one_is_due() -> None:
    model, link = queue(), Link(1)
    for _ in range(2):
        model.receive(link, 1, at(0), [])
    out: Out = []
    model.tick(at(0.1), out)
    assert sent(out) == [b"answer 1"]
    assert [effect.at for effect in out if isinstance(effect, Arm)] == [pytest.approx(100.2)]


def test_a_command_is_counted_once_however_it_is_done() -> None:
    hsm = MeteredHsm(bytes(32), lambda n: bytes(at & 0xFF for at in range(n)))
    hsm.import_clear("tmk/1", "tmk", "sm4", bytes(range(16)))
    ((given, record),) = hsm.issue("1", "sm4", [("mak", 16)])
    assert hsm.operations == 1
    assert record == hsm.record("mak/1")
    assert (given, record.kcv) == hsm.export("mak/1", "tmk/1")
    mac = hsm.mac("mak/1", "cup-ecb", b"data")
    assert hsm.operations == 2
    assert hsm.verify_mac("mak/1", "cup-ecb", b"data", mac)
    assert hsm.operations == 3
    hsm.generate("pik/1", "pik", "sm4", 16)
    hsm.generate("pik/2", "pik", "sm4", 16)
    sealed = bytes(16)
    with pytest.raises(ValueError, match="PIN"):
        hsm.translate_pin("pik/1", "sm4", "pik/2", "sm4", "6212140000000000030", sealed)
    assert hsm.operations == 6


def test_the_report_names_who_is_waited_for() -> None:
    slow = {"rate": 2000, "operations": 4660, "busy_s": 2.33, "wait_mean_s": 0.25, "queue_max": 590}
    assert limit(slow, 0.3, (0.3, 0.4)) == (
        "HSM: 4,660 operations at 2,000 a second take 2.3 s; up to 590 waited, 0.250 s on average"
    )
    assert limit(slow | {"wait_mean_s": 0.01}, 0.3, (0.3, 0.99)) == "switch: 99% of a core"
    assert limit(None, 0.1, (0.97, 0.5)) == "fleet: 97% of a core"
    assert limit(None, 0.1, (0.2, 0.3)) == "none of ours: fleet 20%, switch 30% of a core"


records = some.builds(
    lambda usage, owner, suite, wrapped, kcv: KeyRecord(f"{usage}/{owner}", usage, suite, wrapped, kcv),
    some.sampled_from(["tmk", "pik", "mak", "tdk", "zmk", "store"]), some.sampled_from(["10000001", "cups", "x/y"]),
    some.sampled_from(["3des", "sm4", "aes"]), some.binary(min_size=36, max_size=60),
    some.binary(min_size=4, max_size=4),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(some.lists(some.tuples(some.booleans(), records), max_size=25))
def test_the_packed_store_is_a_dictionary(steps: list[tuple[bool, KeyRecord]]) -> None:
    store, plain = Records(), {}
    for keep, record in steps:
        if keep:
            store.put(record)
            plain[record.label] = record
        else:
            store.drop(record.label)
            plain.pop(record.label, None)
        assert len(store) == len(plain)
    assert sorted(store) == sorted(plain)
    for _, record in steps:
        assert store.get(record.label) == plain.get(record.label)
        assert (record.label in store) == (record.label in plain)
