"""Bus gates under Locust: passengers tap offline, buses hand their files in, the back office claims them (transit.md).

Gates and office of a process speak to each other within it; what the office claims goes to the host over a socket.
"""

import os
import random
import secrets
import time
from datetime import datetime
from typing import Any, Final

from gevent.lock import Semaphore
from locust import User, between, task

from loadtest.locusts.ground import Ground, NoGround
from loadtest.locusts.users import Refused, nobody, set_up_failed
from loadtest.people import FULL, People
from loadtest.verdict import FAILURES
from switch.crypto.hsm import Hsm
from terminals.device import backoffice, pos, validator
from terminals.device.backoffice import BackOffice, TapStore
from terminals.device.memory import Memory
from terminals.device.validator import ValidatorMemory
from terminals.drive.blocking import Session
from terminals.drive.pump import pump
from terminals.fleet import memory_of, validator_of
from terminals.flow import Ask, Call, FlowEffect
from terminals.hands import Hand
from terminals.kernel.parameters import Parameters

PASSENGERS: Final = 20
"""Cards looked at for one that has electronic cash enough."""
_UNREAD: Final = frozenset(("data", "status", "no_application"))
"""Reasons of a gate that speak of a card or a reader that does not work."""


class Depot:
    """The gates of a process that nobody stands at yet, and the office they hand in to, with a terminal at the
    acquirer. Raises NoGround."""

    def __init__(self, ground: Ground) -> None:
        gates, offices = ground.transit()
        if not gates or not offices:
            raise NoGround("no gates or no office terminal here: load house --validators N, and two processes at most")
        self.ground = ground
        self.parameters: Parameters = ground.parameters
        self._gates = [validator_of(operator, one) for operator, one in gates]
        self._desk: Memory = memory_of(offices[0])
        self._desk.stan = ground.first_stan()
        hsm = Hsm(secrets.token_bytes(32), secrets.token_bytes)
        hsm.generate(backoffice.STORE, "store", "aes", 32)
        hsm.generate(backoffice.HASH, "hash", "aes", 32)
        self._store = TapStore(ground.directory / f"backoffice-{os.getpid()}.db")
        self.office = BackOffice(hsm, self._store.append, gates[0][0].lists, [self._desk])
        self._took_s = 0.0
        self._session = Session(ground.line, ground.host, ground.port, observe=self._observe)
        self._counter = Semaphore(1)

    def gate(self) -> ValidatorMemory:
        """The next gate, with the office's lists. NoGround when there are no more."""
        if not self._gates:
            raise NoGround("the gates here are all in use: give the ground more (load house --validators)")
        gate = self._gates.pop(0)
        pump(validator.download(gate), self.link)
        return gate

    def link(self, effect: FlowEffect) -> bytes:
        """The way from a gate to the office."""
        if not isinstance(effect, Call):
            raise TypeError("a gate calls its office and nothing else")
        return self.office.receive(effect.body)

    def claim(self, tell: Any) -> None:
        """Claim all that waits from the acquirer, one certificate after the other; `tell` hears seconds and why it
        failed, of each. Nothing where somebody is at it already."""
        if not self._counter.acquire(blocking=False):
            return
        try:
            while self.office.waiting:
                self._took_s = 0.0
                flow = backoffice.upload(self.office, self._desk, self.ground.line, 1)
                told = self._session.run(flow, nobody)
                failed = told.reason if told.reason in FAILURES or not told.reason.isdigit() else ""
                tell(self._took_s, failed)
                if told.reason:
                    return
                if len(self._desk.items) >= FULL:
                    self._settle()
        finally:
            self._counter.release()

    def _settle(self) -> None:
        for flow in (pos.settle(self._desk, self.ground.line), pos.sign_in(self._desk, self.ground.line)):
            self._session.run(flow, nobody)
        self._desk.closed.clear()

    def _observe(self, body: bytes, took_s: float, reply: bytes | None) -> None:
        self._took_s = took_s


class ValidatorUser(User):
    """A gate on a bus: passengers tap offline, now and then the bus hands in and the office claims."""

    weight = 1
    kind = "gate"
    wait_time = between(0.05, 0.5)

    def on_start(self) -> None:
        """Take a gate; SetUpFailed where none is left."""
        ground: Ground | None = getattr(self.environment, "ground", None)
        try:
            if ground is None:
                raise NoGround("--ground DIR is needed")
            if getattr(self.environment, "depot", None) is None:
                self.environment.depot = Depot(ground)
            self.depot: Depot = self.environment.depot
            self.gate = self.depot.gate()
        except NoGround as error:
            raise set_up_failed(self.environment, str(error)) from None
        self.people: People = ground.people("tap")
        draw = random.Random(f"{self.gate.tid}")
        self.reader = validator.reader(self.depot.parameters, draw.randbytes, serial=self.gate.tid)

    def on_stop(self) -> None:
        """The bus comes home: what it holds is handed in and claimed."""
        if hasattr(self, "gate"):
            self.hand_in()

    @task(30)
    def ride(self) -> None:
        """挥卡乘车"""
        hand = self._passenger()
        if hand is None:
            return
        began, started = time.time(), time.perf_counter()
        try:
            flow = validator.tap(self.gate, self.reader, datetime.now())
            told = pump(flow, lambda effect: hand.again() if isinstance(effect, Ask) else None, hand)
        finally:
            self.people.back(hand)
        self._tell("ride", time.perf_counter() - started, told.reason if told.reason in _UNREAD else "", began)

    @task(1)
    def hand_in(self) -> None:
        """脱机文件上送, then 脱机消费 of each tap"""
        if self.gate.close_file() is None and not self.gate.files:
            return
        started = time.perf_counter()
        told = pump(validator.deliver(self.gate), self.depot.link)
        self._tell("file", time.perf_counter() - started, told.reason)
        self.depot.claim(lambda took_s, why: self._tell("claim", took_s, why))

    def _passenger(self) -> Hand | None:
        fare = self.gate.fare or 0
        for _ in range(PASSENGERS):
            _, hand = self.people.card()
            if hand is not None and hand.balance_minor >= fare:
                return hand
            self.people.back(hand)
        return None

    def _tell(self, name: str, took_s: float, why: str, began: float | None = None) -> None:
        self.environment.events.request.fire(
            request_type="8583" if name == "claim" else "gate", name=f"{name} {self.kind}",
            response_time=took_s * 1000, response_length=0, response=None, context={},
            start_time=began or time.time(), url=None, exception=Refused(why) if why else None,
        )  # fmt: skip
