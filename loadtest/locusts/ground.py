"""What a Locust process knows of the field: the line, its share of the terminals, the people with their cards.

A *ground* is a directory with `load.json` (`shoudan load house` writes it), or any with terminals.csv,
transport-keys.csv and a profile, the rest given as options.
"""

import json
import random
from pathlib import Path
from typing import Any

from loadtest.people import CARDS, People, fitted
from switch.wire.profile import PosProfile, load_profile
from terminals.card.signing import ca_keys
from terminals.device.atm import AtmMemory, balance_machine
from terminals.device.dialogue import Line
from terminals.device.memory import Memory
from terminals.fleet import OFFICE, Operator, Terminal, Validator, memory_of, mint_operators
from terminals.kernel.parameters import demo_parameters
from terminals.own import own_terminals, read_transport_keys

FIRST_STAN_MAX = 900_000
NOTES = 1_000


class NoGround(Exception):
    """The set-up failed: the text says what is missing, or how the host answered."""


class Ground:
    """Terminals of a directory, given out one by one. `share` of `shares` is this process's part of them.

    `people` are by how cards are read; all parts have cards of their own, so that no card is in two places.
    """

    def __init__(self, directory: Path, host: str, share: int = 0, shares: int = 1, cards: int = CARDS) -> None:
        try:
            told: dict[str, Any] = json.loads((directory / "load.json").read_text(encoding="utf-8"))
            profile = load_profile(directory / "profile-pos.toml")
            if not isinstance(profile, PosProfile):
                raise NoGround("profile-pos.toml is not a terminals' profile")
            keys = read_transport_keys(directory / "transport-keys.csv")
            terminals = own_terminals(directory / "terminals.csv", keys, profile.suites)
        except FileNotFoundError as error:
            raise NoGround(f"no {error.filename}; `shoudan load house DIR` makes a ground") from None
        except (OSError, ValueError) as error:
            raise NoGround(f"{directory}: {error}") from None
        address = host.rpartition("//")[2] if host else f"127.0.0.1:{told['port']}"
        there, _, port = address.partition(":")
        if not port.isdecimal():
            raise NoGround(f"--host {host!r}: HOST:PORT is needed")
        self.directory = directory
        self.host, self.port = there, int(port)
        self.line = Line(profile)
        self.draw = random.Random(f"{told['seed']} {share}")
        self.parameters = demo_parameters(ca_keys())
        self._terminals = terminals
        self._mine = terminals[share::shares]
        self._given: dict[str, int] = {}
        self._people: dict[str, People] = {}
        self._told = told
        self._cards = cards
        self._share, self._shares = share, shares

    def people(self, entry: str) -> People:
        """The people whose cards are read so."""
        if entry not in self._people:
            people = (
                People(
                    entry,
                    self.draw,
                    seed=self._told["seed"],
                    cards_per_issuer=self._told["cards_per_issuer"],
                    cards=self._cards,
                )
                .share(self._share, self._shares)
                .personalised()
            )
            self._people[entry] = people
        return self._people[entry]

    def terminal(self, kind: str) -> Memory:
        """The next terminal for a kind of user: "stripe", "tap" or "atm". NoGround when there are no more."""
        able = [one for one in self._mine if _fits(one, kind)]
        # Taps and stripes share terminals from both ends: nobody gets one that another has.
        used = self._given.get(kind, 0)
        other = self._given.get({"stripe": "tap", "tap": "stripe"}.get(kind, ""), 0)
        if used + other >= len(able):
            raise NoGround(f"{len(able)} terminals for {kind} users here are all in use: give the ground more")
        self._given[kind] = used + 1
        return self._made(able[used] if kind != "stripe" else able[-1 - used], kind)

    def transit(self) -> tuple[list[tuple[Operator, Validator]], list[Terminal]]:
        """This process's part of the bus gates, each with its operator, and of the office's terminals."""
        operators = mint_operators(self._told["seed"], self._told.get("operators", 0), self._told.get("validators", 0))
        gates = [(operator, gate) for operator in operators for gate in operator.validators]
        offices = [one for one in self._terminals if one.model == OFFICE]
        return gates[self._share :: self._shares], offices[self._share :: self._shares]

    def first_stan(self) -> int:
        """Where a terminal's numbers begin: anywhere, for a batch may still be open."""
        return self.draw.randrange(FIRST_STAN_MAX)

    def _made(self, terminal: Terminal, kind: str) -> Memory:
        memory = memory_of(terminal) if kind != "tap" else fitted([terminal], "tap", self.draw.randbytes)[0]
        memory.stan = self.first_stan()
        return memory


def _fits(terminal: Terminal, kind: str) -> bool:
    machine = terminal.model in ("ATM", "CRS")
    if kind == "atm":
        return machine
    return not machine and terminal.model != "BO" and "contactless" in terminal.capabilities


def machine(memory: Memory) -> AtmMemory:
    """A machine's memory, its cassettes filled. TypeError for another terminal's."""
    if not isinstance(memory, AtmMemory):
        raise TypeError("a machine is needed")
    fill(memory)
    return memory


def fill(memory: AtmMemory) -> None:
    """Count the machine and load its cassettes anew."""
    balance_machine(memory, dict.fromkeys(memory.vault.denominations, NOTES))
