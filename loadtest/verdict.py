"""What counts as a failure under load: the system's answers and silence, never a holder's refusal."""

from typing import Final

from terminals.device.dialogue import Outcome

FAILURES: Final = frozenset(("68", "91", "96", "98"))
"""DE39 by which the system says that it could not: late, issuer out of service, malfunction, no answer."""

HOLDERS: Final = frozenset(("cancelled", "no PIN"))
"""Reasons of dialogues that people ended."""


def failure(outcome: Outcome) -> str:
    """Why a dialogue counts as failed, "" where it does not: a refusal with 51 or 55 is an answer like any other."""
    code = outcome.response_code
    if code in FAILURES:
        return code
    if outcome.state == "unknown":
        return outcome.reason or "silence"
    if outcome.state == "unsent" and outcome.reason not in HOLDERS:
        return f"unsent: {outcome.reason} {code}".rstrip()
    return ""
