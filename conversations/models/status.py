"""The statuses of a message, and which may follow which."""

from django.db import models


class Status(models.TextChoices):
    """The life of a message.

        pending ──▶ sending ──▶ sent ──▶ delivered | undelivered
         ▲  │          │ │        ▲
         │  │          │ └▶ uncertain ──▶ unresolved        nobody knows; settled with the provider, or held
         │  │          └──▶ failed                          refused for good
         │  └──▶ canceled | expired
         └── every attempt that provably was not sent comes back here

    What a provider reports is a fact, what we conclude from silence a guess: facts overwrite guesses, never the other
    way round. So a callback may come before our own "sent" is written, twice, or late. In a copy that was restored from
    a backup even what was `pending` becomes `uncertain`, once (`manage.py after_restore`).
    """

    PENDING = "pending"  # saved; waiting for a worker, for its time, or for its next try
    SENDING = "sending"  # a worker holds it, under a lease, and is talking to the provider
    UNCERTAIN = "uncertain"  # the call ended without an answer; being settled with the provider
    UNRESOLVED = "unresolved"  # could not be settled; held for a person or a policy
    FAILED = "failed"  # never accepted; error_code and error_message say why
    SENT = "sent"  # the provider accepted it
    DELIVERED = "delivered"  # it reached the phone or mailbox
    UNDELIVERED = "undelivered"  # accepted, but could not be delivered, or bounced
    CANCELED = "canceled"  # stopped by the client
    EXPIRED = "expired"  # still pending past expires_at
    RECEIVED = "received"  # inbound


# What we concluded or saw before the provider's acceptance reached us: its word is worth more than any of these.
NOT_KNOWN_AS_ACCEPTED = frozenset(
    {Status.PENDING, Status.SENDING, Status.UNCERTAIN, Status.UNRESOLVED, Status.FAILED, Status.EXPIRED}
)

# What we sent and, as far as anybody knows, nobody got.
NOT_REACHED = (Status.FAILED, Status.UNDELIVERED, Status.UNRESOLVED)

# What nobody is at work on. `sent` is an end where no report comes.
AT_REST = sorted(frozenset(Status) - {Status.PENDING, Status.SENDING, Status.UNCERTAIN})

# What the other side may have read. Somebody can't answer what was never offered to a provider, or was refused.
MAY_HAVE_ARRIVED = frozenset(
    {
        Status.SENDING,
        Status.UNCERTAIN,
        Status.UNRESOLVED,
        Status.SENT,
        Status.DELIVERED,
        Status.UNDELIVERED,
    }
)

MOVES: dict[Status, frozenset[Status]] = {
    Status.SENDING: frozenset({Status.PENDING}),
    Status.PENDING: frozenset({Status.SENDING, Status.UNCERTAIN}),
    Status.UNCERTAIN: frozenset({Status.SENDING}),
    Status.UNRESOLVED: frozenset({Status.UNCERTAIN}),
    Status.FAILED: frozenset({Status.SENDING, Status.UNCERTAIN}),
    Status.SENT: NOT_KNOWN_AS_ACCEPTED,
    Status.DELIVERED: NOT_KNOWN_AS_ACCEPTED | {Status.SENT},
    Status.UNDELIVERED: NOT_KNOWN_AS_ACCEPTED | {Status.SENT, Status.DELIVERED},
    Status.EXPIRED: frozenset({Status.PENDING}),
}
"""Where a message may come from, for every status it may move to. `undelivered` beats `delivered` because a mailbox
that took a mail may still bounce it (SendGrid: "a bounce may follow a delivered event")."""

# A report on an earlier attempt may only raise the message: somebody has it, whatever became of the later attempts.
RAISED_BY_AN_EARLIER_ATTEMPT = frozenset(Status) - {Status.DELIVERED, Status.CANCELED, Status.RECEIVED}
