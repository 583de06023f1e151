"""Cards for the kernel's tests: scripted ones that fail on any deviation, real ones that misbehave at one command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cards

from switch.wire import apdu
from terminals.card.card import Icc
from terminals.card.signing import ca_keys
from terminals.drive import instant
from terminals.flow import Ask, CardRemoved, Flow
from terminals.kernel import contact
from terminals.kernel.parameters import demo_parameters
from terminals.kernel.session import Kernel, Presented, Request
from terminals.kernel.tap import tap

VECTORS = Path(__file__).parent / "vectors"
DATE, TIME = "261122", "101500"
Transcript = list[tuple[str, str]]


class Scripted:
    """A card that knows its lines: each command must be the next one, to the last bit."""

    def __init__(self, pairs: Transcript) -> None:
        self.pairs = [(bytes.fromhex(command), bytes.fromhex(response)) for command, response in pairs]
        self.at = 0

    def __call__(self, command: bytes) -> bytes:
        assert self.at < len(self.pairs), f"one command too many: {command.hex().upper()}"
        expected, response = self.pairs[self.at]
        assert command == expected, f"command {self.at}: {command.hex().upper()} instead of {expected.hex().upper()}"
        self.at += 1
        return response

    def end(self) -> None:
        assert self.at == len(self.pairs), f"{len(self.pairs) - self.at} commands were never sent"


class Mapped:
    """A card that answers what was once recorded, whatever comes between; one asked again gives its next answer.

    A command it never heard ends the test.
    """

    def __init__(self, pairs: Transcript, **prefixes: str) -> None:
        self.known: dict[bytes, list[bytes]] = {}
        for command, response in pairs:
            self.known.setdefault(bytes.fromhex(command), []).append(bytes.fromhex(response))
        self.prefixes = {bytes.fromhex(prefix[1:]): bytes.fromhex(response) for prefix, response in prefixes.items()}
        self.heard: list[bytes] = []

    def __call__(self, command: bytes) -> bytes:
        self.heard.append(command)
        for prefix, response in self.prefixes.items():
            if command.startswith(prefix):
                return response
        return self.known[command].pop(0)


class Recorded:
    """A real card, and what was said. `bend(n, command, response)` may change the answer to command `n`, or tear."""

    def __init__(self, icc: Icc, bend: Callable[[int, bytes, bytes], bytes] | None = None) -> None:
        self.icc = icc
        self.bend = bend
        self.said: list[tuple[bytes, bytes]] = []
        icc.reset()

    def __call__(self, command: bytes) -> bytes:
        response = self.icc.transmit(command)
        if self.bend is not None:
            response = self.bend(len(self.said), command, response)
        self.said.append((command, response))
        return response


def kernel(**changes: Any) -> Kernel:
    parameters = changes.pop("parameters", None) or demo_parameters(ca_keys())
    return Kernel(parameters, changes.pop("entropy", cards.entropy), **changes)


def request(minor: int, **changes: Any) -> Request:
    return Request(minor, changes.pop("date", DATE), TIME, **changes)


def holder(**answers: Any) -> Callable[[Ask], Any]:
    """A person with the PIN 123456 who takes the first application and taps again; `answers` differ."""
    known = {"pin": "123456", "offline_pin": "123456", "application": 0, "holder_id": True, "tap_again": True} | answers

    def answer(ask: Ask) -> Any:
        given = known[ask.what]
        if isinstance(given, list):
            return given.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    return answer


def run(flow: Flow[Any], reader: Callable[[bytes], bytes], person: Callable[[Ask], Any] | None = None) -> Any:
    return instant.run(flow, lambda body: None, person or holder(), reader)


def present(reader: Callable[[bytes], bytes], minor: int, interface: str = "contact", **changes: Any) -> Presented:
    """One presentation of a card. `person`, `terminal` (a Kernel); the rest goes into the request."""
    person, terminal = changes.pop("person", None), changes.pop("terminal", None) or kernel()
    asked = request(minor, **changes)
    flow = contact.start(terminal, asked) if interface == "contact" else tap(terminal, asked)
    told = run(flow, reader, person)
    assert isinstance(told, Presented)
    return told


def complete(presented: Presented, reader: Callable[[bytes], bytes], **answer: Any) -> contact.Completed:
    assert presented.session is not None
    answer.setdefault("arc", "00")
    done = run(contact.complete(presented.session, contact.Answer(**answer)), reader)
    assert isinstance(done, contact.Completed)
    return done


def tear(*_: Any) -> bytes:
    raise CardRemoved


def sw(response: bytes) -> int:
    return apdu.split(response)[1]


def recordings() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / "kernel_paths.json").read_text(encoding="utf-8"))
    return found
