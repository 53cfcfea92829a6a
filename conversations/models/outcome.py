"""How an attempt ended."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from conversations.models.status import MOVES, Status
from providers.base import Accepted
from providers.errors import ProviderError


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended, as the worker that made it saw it: what the row becomes."""

    message_id: UUID
    attempt: int
    status: Status
    provider_message_id: str = ""
    segments: int | None = None
    error_code: str = ""
    error_message: str = ""
    retry_in: float | None = None
    """Seconds until the next try; set exactly when `status` is pending."""
    request_id: str = ""
    """The request that brought the message, for the log."""
    next_account: str = ""
    """The account that is to be tried next in place of this one, "" for the same."""
    unspent_lease: datetime | None = None
    """Set to the lease's end when the message itself was not tried, so that the attempt is given back."""
    opted_out: bool = False
    """Whether the provider said that the recipient wants nothing more from this sender."""
    ended: Accepted | ProviderError | None = None
    """The provider's answer, or how the call ended without one; None when nobody was called."""
    began: float = field(default_factory=time.monotonic)
    """When the call began, by this process's monotonic clock."""

    def log_fields(self) -> dict[str, Any]:
        """Return what log lines about it carry."""
        return {"request_id": self.request_id, "message_id": self.message_id, "attempt": self.attempt}


def outcome_parameters(outcomes: Sequence[Outcome]) -> dict[str, list[Any]]:
    """Return outcomes as the columns that the statement unnests, and the moves that it may make."""
    moves = [(source.value, target.value) for target, sources in MOVES.items() for source in sources]
    return {
        "ids": [outcome.message_id for outcome in outcomes],
        "attempts": [outcome.attempt for outcome in outcomes],
        "statuses": [outcome.status.value for outcome in outcomes],
        "provider_message_ids": [outcome.provider_message_id for outcome in outcomes],
        "segments": [outcome.segments for outcome in outcomes],
        "error_codes": [outcome.error_code for outcome in outcomes],
        "error_messages": [outcome.error_message for outcome in outcomes],
        "next_accounts": [outcome.next_account for outcome in outcomes],
        "retry_in": [outcome.retry_in for outcome in outcomes],
        "unspent_leases": [outcome.unspent_lease for outcome in outcomes],
        "moves_from": [source for source, _ in moves],
        "moves_to": [target for _, target in moves],
    }
