"""A message, and the life of it.

What the ORM can't say in one round trip is one SQL statement, beside the method that runs it (acceptance, claim,
outcome, report, doubt), so each holds wholly or not at all. All of them lock rows in one order, the conversation, then
messages by id, so that no two can block each other for ever.
"""

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast
from uuid import UUID

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.dispatch import receiver
from django.utils import timezone
from uuid_utils.compat import uuid7

from conversations import mail_links, media_links
from conversations.models.acceptance import AcceptanceQuerySet
from conversations.models.client import of_lane, of_senders
from conversations.models.conversation import Conversation, channel_type_of, containing_index
from conversations.models.doubt import SETTLED_WITHOUT_AN_ID
from conversations.models.event import MessageEvent
from conversations.models.opt_out import REFUSED, OptOut
from conversations.models.status import AT_REST, NOT_REACHED, Status
from conversations.pseudonyms import REDACTED
from providers import routes
from providers.base import Channel, OutboundMessage
from providers.models import account_resumed

logger = logging.getLogger(__name__)

# Longer Message-IDs than any mail program makes are not kept: they could not be indexed.
MESSAGE_ID_CHARACTERS = 255


class MessageQuerySet(AcceptanceQuerySet):
    """What is done to many messages."""

    def visible_to(self, client: Any) -> "MessageQuerySet":
        """Return those of conversations that have one of the client's addresses, of tests for a test client only."""
        mine = of_senders(client, "conversation__participant_from", "conversation__participant_to")
        return self.filter(mine, of_lane(client))


@receiver(account_resumed)
def wake_what_waited(channel: str, test: bool, stopped_at: datetime | None, **_: Any) -> None:
    """Do so in the transaction that lets the account go on, so that nothing expires in between."""
    Message.objects.wake(channel, stopped_at, test=test)


class Message(models.Model):
    """One message, and all that is known of its fate. The row is the truth; the broker only rings."""

    class Direction(models.TextChoices):
        """Seen from us."""

        OUTBOUND = "outbound"
        INBOUND = "inbound"

    class Type(models.TextChoices):
        """What it is sent as; also the name of its queue."""

        SMS = "sms", "SMS"
        MMS = "mms", "MMS"
        EMAIL = "email", "Email"

    class OnUnresolved(models.TextChoices):
        """What to do with it when nobody can tell whether it was sent."""

        HOLD = "hold"
        RESEND = "resend"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="messages", db_index=False, editable=False
    )
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="replies")
    direction = models.CharField(max_length=8, choices=Direction.choices)
    status = models.CharField(max_length=11, choices=Status.choices)
    type = models.CharField(max_length=5, choices=Type.choices)
    sender = models.CharField("from", max_length=254)
    recipient = models.CharField("to", max_length=254)
    subject = models.CharField(max_length=998, blank=True)
    body = models.TextField(blank=True)
    html = models.TextField("HTML", blank=True)
    attachments = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    segments = models.PositiveIntegerField(null=True)
    on_unresolved = models.CharField(max_length=6, choices=OnUnresolved.choices, blank=True)
    request_id = models.CharField(max_length=128, blank=True)

    # Email's: whether it offers one-click unsubscribe; where the quoted mail begins; how mails name each
    # other (RFC 5322, 3.6.4); whether a machine wrote it (RFC 3834).
    unsubscribe = models.BooleanField(default=False, db_default=False)
    quoted_from = models.PositiveIntegerField(null=True)
    message_id_header = models.CharField(
        "Message-ID", max_length=MESSAGE_ID_CHARACTERS, blank=True, default="", db_default=""
    )
    reference_headers = models.TextField("References", blank=True, default="", db_default="")
    automatic = models.BooleanField(default=False, db_default=False)
    # Whether it came with many others: single sends go first.
    batch = models.BooleanField(default=False, db_default=False, editable=False)
    # Whether it is of a test: as its conversation, and told here as well for those who claim.
    test = models.BooleanField(default=False, db_default=False, editable=False)
    # The member of staff who wrote it; nobody where a client sent it, or a stranger.
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        editable=False,
    )

    provider = models.CharField(max_length=50, blank=True)
    provider_message_id = models.CharField(max_length=255, blank=True)
    # By which its provider still knows the attempts before it was sent again, so that none is taken for the last one.
    earlier_provider_ids = ArrayField(models.CharField(max_length=255), default=list, db_default=[], editable=False)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    # Of a doubt: when the provider is asked next, until when it may stay one, and how many looks found nothing. Of what
    # was sent: when the provider is asked what became of it, as no report came.
    settle_at = models.DateTimeField(null=True)
    settle_by = models.DateTimeField(null=True)
    looks = models.PositiveSmallIntegerField("lookups at the provider without a result", db_default=0, default=0)
    report_due_at = models.DateTimeField(null=True)
    error_code = models.CharField(max_length=50, blank=True)
    error_message = models.CharField(max_length=500, blank=True)

    send_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    # Since when its texts, files and their address are gone; what is counted stays.
    redacted_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[models.Manager["Message"]] = MessageQuerySet.as_manager()

    opens_thread = False
    """What a client asked for; False for messages that come from elsewhere."""

    recipient_opted_out = some_opted_out_by_pseudonym = False
    """What a claim found, of it and of anybody; False for messages that come from elsewhere."""

    if TYPE_CHECKING:
        conversation_id: UUID
        parent_id: UUID | None
        author_id: int | None

    class Meta:
        permissions = [("resend_message", "Can send messages again that did not arrive")]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="message_status_in_words"),
            models.CheckConstraint(
                condition=Q(direction__in=["outbound", "inbound"]), name="message_direction_in_words"
            ),
            models.CheckConstraint(condition=Q(type__in=["sms", "mms", "email"]), name="message_type_in_words"),
            models.CheckConstraint(
                condition=Q(status="pending", next_attempt_at__isnull=False)
                | (~Q(status="pending") & Q(next_attempt_at__isnull=True)),
                name="only_pending_messages_have_a_next_attempt",
            ),
            models.CheckConstraint(
                condition=Q(status="sending", lease_expires_at__isnull=False)
                | (~Q(status="sending") & Q(lease_expires_at__isnull=True)),
                name="only_sending_messages_are_leased",
            ),
            models.CheckConstraint(
                condition=Q(status="uncertain", settle_at__isnull=False, settle_by__isnull=False)
                | (~Q(status="uncertain") & Q(settle_at__isnull=True)),
                name="every_doubt_is_settled_in_time",
            ),
            models.UniqueConstraint(
                fields=["provider", "provider_message_id"],
                condition=~Q(provider_message_id=""),
                name="one_message_per_provider_message_id",
            ),
            models.UniqueConstraint(
                fields=["conversation", "type"], condition=Q(status="sending"), name="one_message_in_flight_per_line"
            ),
        ]
        # The conditions of `messages_due` and `messages_to_expire` name what only their own questions say plainly, so
        # that a planner whose counts are older than a large batch can't take one for another (see claim.CLAIM).
        indexes = [
            models.Index(
                fields=["type", "test", "batch", "next_attempt_at"],
                condition=Q(status="pending", next_attempt_at__isnull=False),
                name="messages_due",
            ),
            models.Index(
                fields=["conversation", "type", "created_at", "id"],
                condition=Q(status="pending"),
                name="messages_waiting_in_line",
            ),
            models.Index(fields=["lease_expires_at"], condition=Q(status="sending"), name="messages_lease_ran_out"),
            models.Index(
                fields=["expires_at"],
                condition=Q(status="pending", expires_at__isnull=False),
                name="messages_to_expire",
            ),
            models.Index(fields=["settle_at"], condition=Q(status="uncertain"), name="messages_to_settle"),
            models.Index(fields=["report_due_at"], condition=Q(status="sent"), name="messages_to_ask_about"),
            models.Index(
                fields=["sender", "recipient"],
                condition=Q(provider_message_id="", status__in=SETTLED_WITHOUT_AN_ID),
                name="messages_without_provider_id",
            ),
            GinIndex(
                fields=["earlier_provider_ids"],
                condition=~Q(earlier_provider_ids=[]),
                name="messages_by_earlier_id",
            ),
            models.Index(fields=["-created_at", "-id"], name="messages_latest_first"),
            models.Index(fields=["-created_at", "-id"], condition=Q(test=True), name="messages_of_tests"),
            models.Index(
                fields=["-updated_at", "-id"],
                # What the list is filtered by, and counted without looking at the rows.
                include=["status", "type", "error_code"],
                condition=Q(status__in=["failed", "undelivered", "unresolved", "expired"], test=False),
                name="messages_to_look_after",
            ),
            models.Index(
                fields=["-updated_at", "-id"], condition=Q(error_code=REFUSED), name="messages_refused_by_opt_out"
            ),
            models.Index(
                fields=["updated_at"], condition=Q(status="unresolved", test=False), name="messages_unresolved"
            ),
            models.Index(
                fields=["send_at", "id"],
                condition=Q(status="pending", send_at__isnull=False, test=False),
                name="messages_scheduled",
            ),
            containing_index("body", "messages_body_containing"),
            containing_index("subject", "messages_subject_containing"),
            models.Index(fields=["conversation", "-created_at", "-id"], name="messages_of_conversation"),
            models.Index(
                fields=["conversation", "-created_at"],
                condition=Q(status__in=NOT_REACHED),
                name="messages_not_reached",
            ),
            models.Index(fields=["author"], condition=Q(author__isnull=False), name="messages_by_author"),
            models.Index(
                fields=["message_id_header"], condition=~Q(message_id_header=""), name="messages_by_message_id_header"
            ),
            models.Index(
                fields=["type", "updated_at"],
                condition=Q(redacted_at__isnull=True, status__in=AT_REST),
                name="messages_to_redact",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"

    @property
    def newly_written(self) -> str:
        """What its author wrote, without the mail quoted below it."""
        return self.body[: self.quoted_from]

    @property
    def quoted(self) -> str:
        """The mail quoted below what its author wrote."""
        return "" if self.quoted_from is None else self.body[self.quoted_from :].strip()

    @property
    def our_address(self) -> str:
        """The address of the two that is ours."""
        return self.sender if self.direction == self.Direction.OUTBOUND else self.recipient

    @property
    def their_address(self) -> str:
        """The address of the two that is not ours."""
        return self.recipient if self.direction == self.Direction.OUTBOUND else self.sender

    def get_absolute_url(self) -> str:
        """Return its path in the API."""
        return f"/api/v1/messages/{self.id}"

    @property
    def channel(self) -> Channel:
        """What it is sent on; the choices of `type` are the channels that providers know."""
        return cast(Channel, self.type)

    @property
    def is_due_at_once(self) -> bool:
        """Whether it was due when it was accepted; otherwise the sweep rings when its time has come."""
        return self.next_attempt_at == self.created_at

    @property
    def is_due(self) -> bool:
        """Whether it may be sent now."""
        return self.next_attempt_at is not None and self.next_attempt_at <= timezone.now()

    def log_fields(self) -> dict[str, Any]:
        """Return what log lines about it carry: ids and words, nothing of what it says or to whom."""
        return {
            "request_id": self.request_id,
            "message_id": self.id,
            "conversation_id": self.conversation_id,
            "queue": self.type,
            "account": self.provider,
            "attempt": self.attempts,
        }

    def as_outbound(self) -> OutboundMessage:
        """Return what a provider needs to know of it."""
        return OutboundMessage(
            message_id=self.id,
            attempt=self.attempts,
            channel=self.channel,
            sender=self.sender,
            recipient=self.recipient,
            body=self.body,
            subject=self.subject,
            html=self.html,
            attachments=tuple(media_links.public(each, self.id) for each in self.attachments),
            **(self._mail_headers() if self.type == self.Type.EMAIL else {}),
        )

    def _mail_headers(self) -> dict[str, Any]:
        return {
            "message_id_header": self.message_id_header,
            "references": tuple(self.reference_headers.split()),
            "reply_to": mail_links.reply_address(self.id),
            "unsubscribe_url": mail_links.unsubscribe_url(self.id) if self.unsubscribe else "",
        }

    def may_have_been_offered_to(self, account: str) -> bool:
        """Whether an account may know of this message: its own, or one that it was moved away from."""
        return account == self.provider or account in routes.names_for(self.type, test=self.test)

    def take_mail_headers(self) -> None:
        """Take the headers by which an answer finds back to this outbound mail, and by which it answers its parent."""
        self.message_id_header = mail_links.message_id_header(self.id, self.sender)
        if self.parent and self.parent.message_id_header:
            self.reference_headers = f"{self.parent.reference_headers} {self.parent.message_id_header}".strip()

    def opt_recipient_out(self, source: str, at: datetime | None = None) -> None:
        """Let the recipient of this outbound message get nothing more from its sender; nobody where it was erased."""
        if self.recipient == REDACTED:
            return
        OptOut.objects.opt_out(
            channel_type_of(self.type), self.sender, self.recipient, test=self.test, source=source, at=at
        )

    def record_possible_duplicate(self, detail: str) -> None:
        """Say in the timeline that somebody may get it twice."""
        self.events.create(
            status="possible_duplicate",
            evidence=MessageEvent.Evidence.ASSUMED,
            attempt=self.attempts,
            code="possible_duplicate",
            detail=detail[:500],
        )
