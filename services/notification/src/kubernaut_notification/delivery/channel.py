"""What a channel is, and the two ways in which it can fail.

    DeliveryError
    ├── RetryableError   the same call may succeed later: 429, 5xx, no answer, a full disk
    └── PermanentError   it will not: 4xx, a certificate that cannot be trusted, a missing credential

Whatever else a channel raises counts as permanent: only an error that is known to pass is worth a retry. The text of
an error is stored in the object's status and sent to audit, so it must never carry a credential, and a webhook's URL
is one.
"""

from __future__ import annotations

from typing import Protocol

from kubernaut_notification.delivery.message import Message


class DeliveryError(Exception):
    """A delivery that did not succeed.

    `text` is stored. `reason` is a word from a small vocabulary for metrics. `outcome_unknown` says that the receiver
    may have the message all the same: the request went out and no answer came back.
    """

    def __init__(self, text: str, *, reason: str = "error", outcome_unknown: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.reason = reason
        self.outcome_unknown = outcome_unknown


class RetryableError(DeliveryError):
    """May succeed later. `retry_after`: seconds that the receiver asked to be left alone, None if it did not say."""

    def __init__(
        self,
        text: str,
        retry_after: float | None = None,
        *,
        reason: str = "transient",
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(text, reason=reason, outcome_unknown=outcome_unknown)
        self.retry_after = retry_after


class PermanentError(DeliveryError):
    """Will not succeed, however often it is tried."""

    def __init__(self, text: str, *, reason: str = "permanent") -> None:
        super().__init__(text, reason=reason)


class Channel(Protocol):
    """Something that takes a message to its readers."""

    async def deliver(self, message: Message) -> None:
        """Deliver `message` once; return when the receiver has it, else raise a `DeliveryError`."""
        ...
