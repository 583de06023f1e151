"""Terminals of a run, signed in, each with its way to the host."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from terminals.device import pos
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import Memory
from terminals.drive.aio import Session
from terminals.flow import Ask

AT_ONCE: Final = 64
FIRST_STAN_MAX: Final = 900_000


class NobodySignedIn(Exception):
    """The host let no terminal in; the text says how it answered."""


@dataclass(slots=True)
class Till:
    """One terminal and its connection."""

    memory: Memory
    session: Session
    sent: float = 0.0
    heard: float = 0.0


def install(memories: Iterable[Memory], line: Line, host: str, port: int, draw: random.Random) -> list[Till]:
    """Tills with a session each; their trace numbers begin anywhere, for a batch may still be open."""
    tills = []
    for memory in memories:
        memory.stan = draw.randrange(FIRST_STAN_MAX)
        till = Till(memory, Session(line, host, port, observe=None))
        till.session = Session(line, host, port, observe=_observer(till))
        tills.append(till)
    return tills


def _observer(till: Till) -> Callable[[bytes, float, bytes | None], None]:
    def observe(body: bytes, took_s: float, reply: bytes | None) -> None:
        till.heard = time.perf_counter()
        till.sent = till.heard - took_s

    return observe


async def sign_in(tills: Sequence[Till], line: Line) -> list[Till]:
    """Sign all in, some first: those that are. Raises NobodySignedIn."""
    gate = asyncio.Semaphore(AT_ONCE)
    answers: Counter[str] = Counter()

    async def one(till: Till) -> bool:
        async with gate:
            outcome: Outcome = await till.session.run(pos.sign_in(till.memory, line), _nobody)
        if not outcome.approved:
            answers[f"{outcome.reason or 'refused'} {outcome.response_code}".rstrip()] += 1
        return outcome.approved

    first = await asyncio.gather(*(one(till) for till in tills[:AT_ONCE]))
    if not any(first):
        raise NobodySignedIn(answers.most_common(1)[0][0] if answers else "there are no terminals")
    rest = await asyncio.gather(*(one(till) for till in tills[AT_ONCE:]))
    return [till for till, good in zip(tills, (*first, *rest), strict=True) if good]


def _nobody(asked: Ask) -> Any:
    return ""


