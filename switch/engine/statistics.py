"""Counters of the engine: plain ints, read by whoever wants to show them."""

from typing import Any

_PLAIN = (
    "messages", "bad_frames", "bad_messages", "mac_failures", "refused", "duplicates", "authorizations", "approved",
    "declined", "timeouts", "late", "late_approvals", "undelivered", "unsayable", "reversals_queued",
    "reversals_acked", "reversals_sent", "suspicious", "advices_stored", "advices_delivered", "sign_ins",
    "settlements", "settlements_unbalanced", "unmatched", "link_errors", "rejected", "unknown_reversals", "key_resets",
    "cut_overs", "replies", "downloads", "overloaded", "overloaded_late", "expired", "repeated_often", "stood_in",
)  # fmt: skip


_REVERSAL_REASONS = ("timeout", "mismatch", "restart", "undeliverable", "terminal")
_INVARIANTS = ("link_key_reused", "stored_key_reused", "answered_twice")

UNKNOWN, ON_US, OFF_US = "unknown", "on-us", "off-us"


class Statistics:
    """One int a counter, and answers by (kind, code, on-us or off-us or unknown).

    `violations` counts what can never happen; every one of them must stay 0.
    """

    __slots__ = ("by_outcome", "reversals", "violations", *_PLAIN)

    messages: int
    bad_frames: int
    bad_messages: int
    mac_failures: int
    refused: int
    duplicates: int
    authorizations: int
    approved: int
    declined: int
    timeouts: int
    late: int
    late_approvals: int
    undelivered: int
    unsayable: int
    reversals_queued: int
    reversals_acked: int
    reversals_sent: int
    suspicious: int
    advices_stored: int
    advices_delivered: int
    sign_ins: int
    settlements: int
    settlements_unbalanced: int
    unmatched: int
    link_errors: int
    rejected: int
    unknown_reversals: int
    key_resets: int
    cut_overs: int
    replies: int
    downloads: int
    overloaded: int
    overloaded_late: int
    expired: int
    repeated_often: int
    stood_in: int

    def __init__(self) -> None:
        for name in _PLAIN:
            setattr(self, name, 0)
        self.by_outcome: dict[tuple[str, str, str], int] = {}
        self.reversals = dict.fromkeys(_REVERSAL_REASONS, 0)
        self.violations = dict.fromkeys(_INVARIANTS, 0)

    def answered(self, kind: str, code: str, approved: bool, on_us: str = UNKNOWN) -> None:
        """A financial request was answered, by whomever."""
        self.authorizations += 1
        if approved:
            self.approved += 1
        else:
            self.declined += 1
        outcome = (kind, code, on_us)
        self.by_outcome[outcome] = self.by_outcome.get(outcome, 0) + 1

    @property
    def by_kind(self) -> dict[str, int]:
        """Answers by kind of transaction."""
        return self._by(0)

    @property
    def by_response(self) -> dict[str, int]:
        """Answers by response code."""
        return self._by(1)

    def _by(self, place: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for outcome, count in self.by_outcome.items():
            found[outcome[place]] = found.get(outcome[place], 0) + count
        return found

    def reversal(self, reason: str) -> None:
        """A reversal was begun; the first word of its reason counts."""
        word = reason.partition(" ")[0]
        self.reversals_queued += 1
        self.reversals[word] = self.reversals.get(word, 0) + 1

    def as_dict(self) -> dict[str, Any]:
        """All of it, for a status request."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        return {
            **plain,
            "by_kind": self.by_kind,
            "by_response": self.by_response,
            "reversals": dict(self.reversals),
            "violations": dict(self.violations),
        }
