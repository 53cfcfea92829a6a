"""What can go wrong between us and a provider.

    ProviderError
      Rejected        refused for good: this message, its recipient or its sender
      NotSent         provably never processed: refused, DNS, connect timeout, 429, what is documented as safe
      Misconfigured   the account: credentials or suspension, so every message would fail
      Uncertain       the call ended without an answer that we can trust: it may have been sent

    UnreadableCallback

The four outcomes are decided in the adapters and nowhere else. `code` is the provider's own (or a short word of ours,
such as "timeout"), as text; the message is a sentence for a person and names no address, number, body or key.
"""


class ProviderError(Exception):
    """An attempt that did not end with the provider's acceptance."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Rejected(ProviderError):
    """Permanent for this message. Sending it again as it is can't help.

    `opted_out` says that the recipient wants nothing more from this sender.
    """

    def __init__(self, message: str, *, code: str = "", opted_out: bool = False) -> None:
        super().__init__(message, code=code)
        self.opted_out = opted_out


UNREACHABLE = frozenset({"dns", "tls", "connect", "connect_timeout", "connection_lost", "no_service"})
"""The codes of `NotSent` when there was no way to the provider, or it serves nobody at the moment."""


class NotSent(ProviderError):
    """Provably never processed, so sending again is safe. `retry_after` is the provider's wish in seconds, if any."""

    def __init__(self, message: str, *, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after

    @property
    def unreachable(self) -> bool:
        """Whether nobody is served there now; otherwise the provider has put off this message, such as with a 429."""
        return self.code in UNREACHABLE


class Misconfigured(ProviderError):
    """The account can't send at all. The message is innocent and waits."""


class Uncertain(ProviderError):
    """Nobody on our side knows whether it was sent. It must not be sent again before that is settled."""


class UnreadableCallback(Exception):
    """A callback in which no fact can be read. Its text says why, for the provider's log."""
