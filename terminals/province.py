"""A whole province in one process: every terminal of a fleet's profile by its number, and their memories as rows."""

from collections.abc import Iterator
from functools import partial

from terminals.census import Census
from terminals.device.dialogue import Line
from terminals.fleet import (
    Kind,
    Operator,
    Terminal,
    fleet_key,
    machine,
    machines_key,
    mint_operators,
    shop_terminal,
)
from terminals.rows import GateRows, Rows


class Province:
    """`shops`, `machines`, `office` are rows of terminals the acquirer knows, `gates` those of validators it does not.

    The same profile and the same seed are the same province, in every process.
    """

    def __init__(self, census: Census, seed: int, line: Line) -> None:
        self.census = census
        self.line = line
        pos, atm, gates = census.pos, census.atm, census.validators
        shops = partial(
            shop_terminal, fleet_key(seed), kind=Kind(pos.sm4, pos.contact, pos.contactless, pos.a_merchant)
        )
        machines = partial(machine, machines_key(seed), kind=Kind(atm.sm4, atm.contact, atm.contactless))
        self.operator: Operator | None = None
        if gates.terminals:
            (self.operator,) = mint_operators(seed, 1, gates.terminals, gates.office, fare_minor=gates.fare_minor)
        office = self.operator.terminals if self.operator is not None else ()
        self.shops = Rows(pos.terminals, shops, line)
        self.machines = Rows(atm.terminals, machines, line)
        self.office = Rows(len(office), office.__getitem__, line)
        self.gates = GateRows(self.operator) if self.operator is not None else None

    @property
    def rows(self) -> tuple[Rows, ...]:
        """The rows of all terminals that the acquirer knows."""
        return self.shops, self.machines, self.office

    @property
    def terminals(self) -> int:
        """How many there are, validators included, the office's own not."""
        return len(self.shops) + len(self.machines) + (len(self.gates) if self.gates is not None else 0)

    def registered(self) -> Iterator[Terminal]:
        """All terminals that the acquirer knows, one after another."""
        for rows in self.rows:
            for number in range(len(rows)):
                yield rows.terminal(number)

    @property
    def bytes(self) -> int:
        """What the memories of all of them take."""
        return sum(rows.bytes for rows in self.rows) + (self.gates.bytes if self.gates is not None else 0)
