"""Locust users: somebody at a till with the stripe, with a tap, and at a machine. One terminal each.

51 and 55 are answers; 68, 91, 96, 98 and silence are failures. Response times are those of the request itself, from the
send to the answer: card and kernel are not in it.
"""

import random
import time
from collections.abc import Callable
from typing import Any, Final

import gevent
from locust import User, constant, task
from locust.exception import StopUser

from loadtest.locusts.ground import Ground, NoGround, fill, machine
from loadtest.people import FULL, holder_of
from loadtest.verdict import failure
from terminals.device import atm, chip, pos
from terminals.device.dialogue import Outcome
from terminals.device.memory import Memory
from terminals.drive.blocking import Session
from terminals.flow import Ask, Flow
from terminals.hands import Hand

AMOUNTS: Final = (100, 10_000)
NOTES_MINOR: Final = (10_000, 20_000, 50_000)


class Refused(Exception):
    """An answer, or the want of one, that counts as a failure."""


class SetUpFailed(StopUser):
    """A user could not begin; the whole run ends with exit code 3."""


def set_up_failed(environment: Any, text: str) -> SetUpFailed:
    """Tell the run that its set-up failed; what the user who met it raises."""
    fail: Callable[[str], None] = getattr(environment, "set_up_failed", lambda told: None)
    fail(text)
    return SetUpFailed(text)


class _Terminal(User):
    """One terminal and whoever stands at it."""

    abstract = True
    wait_time = constant(0)
    kind = "stripe"

    def on_start(self) -> None:
        """Take a terminal and sign it in; SetUpFailed where none is left or the host refuses."""
        ground: Ground | None = getattr(self.environment, "ground", None)
        try:
            if ground is None:
                raise NoGround("--ground DIR is needed")
            self.ground = ground
            self.memory: Memory = ground.terminal(self.kind)
        except NoGround as error:
            raise set_up_failed(self.environment, str(error)) from None
        self.draw = random.Random(f"{self.memory.tid}")
        self._took_s, self._reply = 0.0, b""
        # Others go first: by the next turn the answer is often there, and nothing needs to be waited for.
        self.session = Session(ground.line, ground.host, ground.port, observe=self._observe, meanwhile=gevent.sleep)
        outcome = self.session.run(pos.sign_in(self.memory, ground.line), nobody)
        if not outcome.approved:
            text = f"sign-in {outcome.reason or 'refused'} {outcome.response_code}".rstrip()
            raise set_up_failed(self.environment, text)

    def on_stop(self) -> None:
        """Hang up."""
        if hasattr(self, "session"):
            self.session.close()

    def _observe(self, body: bytes, took_s: float, reply: bytes | None) -> None:
        self._took_s, self._reply = took_s, reply or b""

    def play(self, flow: Flow[Outcome], card: Any, hand: Hand | None = None) -> Outcome:
        """Run a dialogue and tell Locust of it."""
        self._took_s = 0.0
        began = time.time()
        outcome = self.session.run(flow, holder_of(card, hand), *([hand] if hand is not None else []))
        why = failure(outcome)
        self.environment.events.request.fire(
            request_type="8583", name=f"{outcome.kind} {self.kind}", response_time=self._took_s * 1000,
            response_length=len(self._reply), response=None, context={}, start_time=began, url=None,
            exception=Refused(why) if why else None,
        )  # fmt: skip
        if len(self.memory.items) >= FULL:
            self.settle()
        return outcome

    def settle(self) -> None:
        """The batch is nearly full: totals, a new one, and the old forgotten."""
        line = self.ground.line
        for flow in (pos.settle(self.memory, line), pos.sign_in(self.memory, line)):
            self.session.run(flow, nobody)
        self.memory.closed.clear()

    def amount(self) -> int:
        """What is bought, minor units."""
        return self.draw.randint(*AMOUNTS)


def nobody(asked: Ask) -> Any:
    """Nobody is at the terminal: no PIN."""
    return ""


class PosUser(_Terminal):
    """Somebody who pays by the stripe, with the PIN: sales, inquiries, voids, refunds, pre-authorizations."""

    weight = 3

    @task(70)
    def sale(self) -> None:
        """消费"""
        card, _ = self.ground.people("stripe").card()
        self.play(pos.sale(self.memory, self.ground.line, card, self.amount()), card)

    @task(12)
    def balance(self) -> None:
        """余额查询"""
        card, _ = self.ground.people("stripe").card()
        self.play(pos.balance(self.memory, self.ground.line, card), card)

    @task(8)
    def void(self) -> None:
        """消费, then 撤销"""
        self._then("sale", "sale_void")

    @task(4)
    def refund(self) -> None:
        """消费, then 退货"""
        self._then("sale", "refund")

    @task(6)
    def preauth(self) -> None:
        """预授权, then 完成"""
        self._then("preauth", "completion")

    def _then(self, first: str, after: str) -> None:
        card, _ = self.ground.people("stripe").card()
        line = self.ground.line
        paid = self.play(pos.transact(self.memory, line, first, card, self.amount()), card)
        item = paid.item
        if paid.approved and item is not None and item in self.memory.items:
            flow = pos.transact(self.memory, line, after, card, item.total_minor, item, pin=after != "refund")
            self.play(flow, card)


class TapUser(_Terminal):
    """Somebody who taps: card and kernel in every sale, always online."""

    weight = 6
    kind = "tap"

    @task
    def tap(self) -> None:
        """挥卡消费"""
        people = self.ground.people("tap")
        card, hand = people.card()
        if hand is None:
            return
        try:
            self.play(
                chip.tap(
                    self.memory, self.ground.line, "sale", card, self.amount(), force_online=True, e_cash=False
                ), card, hand,
            )  # fmt: skip
        finally:
            people.back(hand)


class AtmUser(_Terminal):
    """Somebody at a machine, by the stripe: withdrawals and inquiries."""

    weight = 1
    kind = "atm"

    def on_start(self) -> None:
        """As every terminal; the cassettes are filled."""
        super().on_start()
        self.machine = machine(self.memory)

    @task(5)
    def withdraw(self) -> None:
        """取款"""
        card, _ = self.ground.people("stripe").card()
        flow = atm.withdraw(self.machine, self.ground.line, card, self.draw.choice(NOTES_MINOR))
        outcome = self.play(flow, card)
        if outcome.reason == "no cash":
            fill(self.machine)

    @task(2)
    def inquire(self) -> None:
        """余额查询"""
        card, _ = self.ground.people("stripe").card()
        self.play(atm.inquire(self.machine, self.ground.line, card), card)
