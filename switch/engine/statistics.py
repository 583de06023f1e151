"""Counters of the engine: plain ints, read by whoever wants to show them."""

from typing import Any

_PLAIN = (
    "messages", "bad_frames", "bad_messages", "mac_failures", "refused", "duplicates", "authorizations", "approved",
    "declined", "timeouts", "late", "late_approvals", "undelivered", "unsayable", "reversals_queued",
    "reversals_acked", "reversals_sent", "suspicious", "advices_stored", "advices_delivered", "sign_ins",
    "settlements", "settlements_unbalanced", "unmatched", "link_errors", "rejected", "unknown_reversals", "key_resets",
    "cut_overs",
)  # fmt: skip


class Statistics:
    """One int a counter, and answers by kind and by response code."""

    __slots__ = ("by_kind", "by_response", *_PLAIN)

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

    def __init__(self) -> None:
        for name in _PLAIN:
            setattr(self, name, 0)
        self.by_kind: dict[str, int] = {}
        self.by_response: dict[str, int] = {}

    def answered(self, kind: str, code: str, approved: bool) -> None:
        """A financial request was answered, by whomever."""
        self.authorizations += 1
        if approved:
            self.approved += 1
        else:
            self.declined += 1
        self.by_kind[kind] = self.by_kind.get(kind, 0) + 1
        self.by_response[code] = self.by_response.get(code, 0) + 1

    def as_dict(self) -> dict[str, Any]:
        """All of it, for a status request."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        return {**plain, "by_kind": dict(self.by_kind), "by_response": dict(self.by_response)}
