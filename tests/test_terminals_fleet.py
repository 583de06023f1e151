"""The fleet: the same seed, the same terminals; merchant numbers built as the field's; a third on SM4; its arrivals."""

import asyncio
import random
from typing import Any

import pytest

from terminals.fleet import memory_of, mint
from terminals.trade import Trade


def test_a_fleet_follows_from_its_seed() -> None:
    fleet = mint(7, 400)
    assert mint(7, 400) == fleet
    assert mint(7, 90) == fleet[:90]
    assert mint(8, 400) != fleet
    assert {a.tmk for a in fleet}.isdisjoint({b.tmk for b in mint(8, 400)})


def test_terminals_are_all_different_and_whole() -> None:
    fleet = mint(1, 3000)
    assert len({terminal.tid for terminal in fleet}) == len({terminal.tmk for terminal in fleet}) == 3000
    for terminal in fleet:
        assert (len(terminal.tid), len(terminal.mid), len(terminal.tmk)) == (8, 15, 16)
        assert terminal.mid.isdecimal()
        assert terminal.mid[7:11] == terminal.mcc
        assert terminal.merchant_name.startswith(terminal.district)
        assert len(terminal.merchant_name.encode("gbk")) <= 40
    merchants: dict[str, set[tuple[str, str]]] = {}
    for terminal in fleet:
        merchants.setdefault(terminal.mid, set()).add((terminal.mcc, terminal.merchant_name))
    assert all(len(faces) == 1 for faces in merchants.values())
    assert 2.5 < 3000 / len(merchants) < 3.5
    assert len({terminal.mcc for terminal in fleet}) == 13


@pytest.mark.parametrize(("share", "count"), [(1 / 3, 1000), (0.0, 0), (1.0, 3000), (0.25, 750)])
def test_the_share_on_sm4_is_exact(share: float, count: int) -> None:
    assert sum(terminal.suite == "sm4" for terminal in mint(1, 3000, share)) == count


def test_any_part_of_the_fleet_has_both_suites() -> None:
    fleet = mint(3, 300)
    assert all(2 <= sum(t.suite == "sm4" for t in fleet[at : at + 10]) <= 4 for at in range(0, 300, 10))


def test_bad_fleets_are_refused() -> None:
    for count, share in ((-1, 0.5), (1, -0.1), (1, 1.1)):
        with pytest.raises(ValueError, match="fleet"):
            mint(1, count, share)
    assert mint(1, 0) == []


def test_no_key_in_a_repr_and_a_memory_out_of_the_box() -> None:
    terminal = mint(1, 1)[0]
    assert terminal.tmk.hex() not in repr(terminal)
    assert repr(terminal.tmk) not in repr(terminal)
    memory = memory_of(terminal)
    assert (memory.tid, memory.mid, memory.mcc, memory.suite) == (
        terminal.tid, terminal.mid, terminal.mcc, terminal.suite,
    )  # fmt: skip
    assert (memory.batch, memory.items, memory.signed_in, memory.pinpad.ready) == ("", [], False, False)


@pytest.mark.timeout(20)
def test_a_rate_that_no_machine_can_give_ends_in_time_and_leaves_the_others_their_turn() -> None:
    nothing: Any = None

    async def day() -> tuple[list[bool], int]:
        trade = Trade(nothing, nothing, nothing, random.Random(1))
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        came = [still async for still in trade._arrivals(asyncio.get_running_loop().time() + 0.05, 1e9)]
        beside.cancel()
        return came, turns

    came, turns = asyncio.run(day())
    assert turns >= len(came) - 1 > 0
    assert all(came)
