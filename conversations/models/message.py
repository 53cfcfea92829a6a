"""A message, and the life of it."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Q
from django.dispatch import receiver
from django.utils import timezone
from uuid_utils.compat import uuid7

from conversations import mail_links
from conversations.addresses import participants_key
from conversations.models import statements
from conversations.models.client import of_senders
from conversations.models.conversation import Conversation, containing_index
from conversations.models.doubt import REPORT_STEPS, SETTLED_WITHOUT_AN_ID, settling_times
from conversations.models.event import MessageEvent
from conversations.models.intervention import InterventionQuerySet
from conversations.models.opt_out import OptOut
from conversations.models.outcome import Outcome, outcome_parameters
from conversations.models.status import MOVES, RAISED_BY_AN_EARLIER_ATTEMPT, Status
from providers.base import Channel, DeliveryReport, OutboundMessage
from providers.errors import UNREACHABLE
from providers.models import account_resumed

logger = logging.getLogger(__name__)

RECIPIENT_OPTED_OUT = "The recipient has opted out of messages from this sender."
# What the database decides while it inserts a message, in the order in which it answers.
DECIDED_AT_INSERT = (
    "conversation_id",
    "status",
    "next_attempt_at",
    "expires_at",
    "failed_at",
    "error_code",
    "error_message",
    "created_at",
)
# Longer Message-IDs than any mail program makes are not kept: they could not be indexed.
MESSAGE_ID_CHARACTERS = 255


def channel_type_of(message_type: str) -> Conversation.ChannelType:
    """Return the kind of conversation that messages of a type belong to: SMS and MMS share one."""
    return Conversation.ChannelType.EMAIL if message_type == "email" else Conversation.ChannelType.SMS


def key_of(message_type: str, sender: str, recipient: str) -> str:
    """Return the participants key of the conversation that such a message belongs to."""
    return participants_key(channel_type_of(message_type), sender, recipient)


def _insert_parameters(message: "Message", conversation_type: str) -> dict[str, Any]:
    return {
        "conversation_id": uuid7(),
        "participants_key": key_of(message.type, message.sender, message.recipient),
        "channel_type": channel_type_of(message.type),
        "conversation_type": conversation_type,
        "joined_conversation_id": None,
        "unread": int(message.direction == Message.Direction.INBOUND),
        "direction": message.direction,
        "status": message.status,
        "segments": message.segments,
        "provider_message_id": message.provider_message_id,
        "id": message.id,
        "parent_id": message.parent_id,
        "type": message.type,
        "sender": message.sender,
        "recipient": message.recipient,
        "subject": message.subject,
        "body": message.body,
        "html": message.html,
        "attachments": json.dumps(message.attachments),
        "metadata": json.dumps(message.metadata),
        "on_unresolved": message.on_unresolved,
        "request_id": message.request_id,
        "provider": message.provider,
        "send_at": message.send_at,
        "expires_at": message.expires_at,
        "expires_after": timedelta(seconds=settings.EXPIRES_AFTER_SECONDS),
        "opted_out_sentence": RECIPIENT_OPTED_OUT,
        "unsubscribe": message.unsubscribe,
        "quoted_from": message.quoted_from,
        "message_id_header": message.message_id_header,
        "reference_headers": message.reference_headers,
        "automatic": message.automatic,
        "batch": message.batch,
    }


# What a batch passes as JSON: these as they are, all else as text.
_PLAIN = (str, bool, int, list, dict, type(None))


def _wish(message: "Message", place: int) -> dict[str, Any]:
    """Return what tells a message of a batch from the others, as JSON has it."""
    values = {**_insert_parameters(message, Conversation.Type.DIRECT), "place": place}
    values |= {"attachments": message.attachments, "metadata": message.metadata}
    return {name: each if isinstance(each := values[name], _PLAIN) else str(each) for name in statements.WISH}


def _inserted(message: "Message", row: Sequence[Any]) -> "Message":
    for name, value in zip(DECIDED_AT_INSERT, row, strict=True):
        setattr(message, name, value)
    message.updated_at = message.created_at
    message._state.adding = False
    message._state.db = connection.alias
    return message


@dataclass(frozen=True, slots=True)
class Offer:
    """On which terms messages are claimed: for which accounts, the preferred one first, and for how long.

    A message keeps the account that it is planned for if that is among them, else it gets the first; `reasons` tell
    why (`code` and `sentence` by the account's name). `as_of` is the time that counts for expiry, None for now.
    """

    accounts: Sequence[str]
    reasons: Mapping[str, Mapping[str, str]]
    lease: timedelta
    as_of: datetime | None = None

    def parameters(self) -> dict[str, Any]:
        """Return it as the statement takes it."""
        return {
            "accounts": list(self.accounts),
            "reasons": json.dumps(self.reasons),
            "lease": self.lease,
            "as_of": self.as_of,
        }


class MessageQuerySet(InterventionQuerySet):
    """What is done to many messages, and how one is made."""

    def visible_to(self, client: Any) -> "MessageQuerySet":
        """Return those of conversations that have one of the client's addresses."""
        mine = of_senders(client, "conversation__participant_from", "conversation__participant_to")
        return self.filter(mine)

    def accept(self, message: "Message", *, conversation_type: str = Conversation.Type.DIRECT) -> "Message":
        """Insert an outbound message with its conversation and its first event; return it as it stands then.

        It joins its parent's conversation; else (or where that is closed) the pair's open direct one, made if needed;
        with type `thread` always a new one. One statement, so it holds wholly or not at all without a transaction. To a
        recipient who opted out it is `failed` at once.
        """
        if message.type == Message.Type.EMAIL:
            message.take_mail_headers()
        parent_id = message.parent.conversation_id if message.parent else None
        return self.insert(message, conversation_type, parent_id)

    def insert(self, message: "Message", conversation_type: str, joined_conversation_id: UUID | None) -> "Message":
        """Insert a message into a conversation by its id while that is open, else into the one of its pair."""
        parameters = _insert_parameters(message, conversation_type)
        with connection.cursor() as cursor:
            if joined_conversation_id is not None:
                joining = {**parameters, "joined_conversation_id": joined_conversation_id}
                cursor.execute(statements.JOIN_CONVERSATION + statements.INSERT_MESSAGE, joining)
                row = cursor.fetchone()
                if row is not None:
                    return _inserted(message, row[:-1])
                parameters["conversation_type"] = Conversation.Type.DIRECT
            cursor.execute(statements.OPEN_CONVERSATION + statements.INSERT_MESSAGE, parameters)
            return _inserted(message, cursor.fetchone()[:-1])

    def accept_batch(self, messages: Sequence["Message"]) -> None:
        """Insert outbound messages, each into its pair's open direct conversation, in one statement.

        They stand in their conversations in this order, and single sends go before them.
        """
        for message in messages:
            message.batch = True
            if message.type == Message.Type.EMAIL:
                message.take_mail_headers()
        wishes = [_wish(message, place) for place, message in enumerate(messages)]
        shared = _insert_parameters(messages[0], Conversation.Type.DIRECT)
        by_id = {message.id: message for message in messages}
        with connection.cursor() as cursor:
            cursor.execute(statements.INSERT_BATCH, {**shared, "wishes": json.dumps(wishes)})
            for *row, message_id in cursor.fetchall():
                _inserted(by_id[message_id], row)

    def claim(self, channel: Channel, offer: "Offer", *, limit: int) -> list["Message"]:
        """Take up to `limit` due messages of a channel, those of batches last and the longest due first: they are
        `sending`, one attempt further, each with an account of the offer as its `provider`.

        None that has expired. Messages of one conversation leave in the order they were accepted, one in flight at a
        time. Safe to call from any number of workers at once: none waits for another, none gets what another has.
        """
        return list(self.raw(statements.CLAIM_DUE, {"channel": channel, "limit": limit, **offer.parameters()}))

    def claim_one(self, message: "Message", offer: "Offer") -> list["Message"]:
        """Take this message, by the same rules. A list of one or none."""
        return list(self.raw(statements.CLAIM_ONE, {"id": message.pk, "limit": 1, **offer.parameters()}))

    def record_outcomes(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        """Write how attempts ended, each with its event; return the ids of the rows that this changed.

        An outcome whose message is past that attempt changes nothing. Where a callback was faster than the acceptance,
        the row keeps its status and gets the id and segments that it lacks.
        """
        if not outcomes:
            return set()
        with connection.cursor() as cursor:
            cursor.execute(statements.RECORD_OUTCOMES, {**outcome_parameters(outcomes), **settling_times()})
            written = {row[0] for row in cursor.fetchall()}
        for message in self.filter(pk__in=[outcome.message_id for outcome in outcomes if outcome.opted_out]):
            message.opt_recipient_out(OptOut.Source.PROVIDER)
        return written

    def apply_report(self, provider: str, report: DeliveryReport, *, received_at: datetime | None = None) -> bool:
        """Let a provider's report take effect; return False if no message of ours is meant.

        Any order and any number of repetitions end in the same row. What changes no status is an event in the
        timeline; `received_at` (now) stands in for the time where the report has none.
        """
        with transaction.atomic():
            message = self._reported_on(provider, report)
            if message is None:
                return False
            message.take_report(report, received_at or timezone.now())
            return True

    def _reported_on(self, provider: str, report: DeliveryReport) -> "Message | None":
        outbound = self.filter(direction=Message.Direction.OUTBOUND).select_for_update()
        if report.message_id is not None:
            message = outbound.filter(pk=report.message_id).first()
            return message if message and message.may_have_been_offered_to(provider) else None
        if not report.provider_message_id:
            return None
        return outbound.filter(provider=provider, provider_message_id=report.provider_message_id).first()

    def expire_overdue(self, channel: Channel, *, limit: int, as_of: datetime | None = None) -> int:
        """End `pending` messages of a channel that were past `expires_at` now, or at the time at which their clock was
        stopped, as `expired`; return how many.
        """
        with connection.cursor() as cursor:
            cursor.execute(statements.EXPIRE_OVERDUE, {"channel": channel, "limit": limit, "as_of": as_of})
            return int(cursor.rowcount)

    def due(self, channel: Channel, *, as_of: datetime | None = None) -> "MessageQuerySet":
        """Return the messages of a channel that `claim` could take now: batches last, the longest due first."""
        now = timezone.now()
        due = self.filter(type=channel, status=Status.PENDING, next_attempt_at__lte=now, expires_at__gt=as_of or now)
        return due.order_by("batch", "next_attempt_at")

    def wake(self, channel: str, stopped_at: datetime | None) -> None:
        """Let what waited on a channel go on: at once where nobody was reachable, not before its time otherwise.

        `stopped_at` is since when the clock stood still: messages live on by what they spent of that time waiting.
        """
        stopped = {"channel": channel, "stopped_at": stopped_at, "unreachable": list(UNREACHABLE)}
        with connection.cursor() as cursor:
            cursor.execute(statements.WAKE, stopped)


@receiver(account_resumed)
def wake_what_waited(channel: str, stopped_at: datetime | None, **_: Any) -> None:
    """Do so in the transaction that lets the account go on, so that nothing expires in between."""
    Message.objects.wake(channel, stopped_at)


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

    provider = models.CharField(max_length=50, blank=True)
    provider_message_id = models.CharField(max_length=255, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    # Of a doubt: when the provider is asked next, until when it may stay one, and how many looks found nothing. Of what
    # was sent: when the provider is asked what became of it, as no report came.
    settle_at = models.DateTimeField(null=True)
    settle_by = models.DateTimeField(null=True)
    looks = models.PositiveSmallIntegerField(db_default=0, default=0)
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

    objects: ClassVar[models.Manager["Message"]] = MessageQuerySet.as_manager()

    opens_thread = False
    """What a client asked for; False for messages that come from elsewhere."""

    recipient_opted_out = False
    """What a claim found; False for messages that come from elsewhere."""

    if TYPE_CHECKING:
        conversation_id: UUID
        parent_id: UUID | None

    class Meta:
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
        indexes = [
            models.Index(
                fields=["type", "batch", "next_attempt_at"], condition=Q(status="pending"), name="messages_due"
            ),
            models.Index(
                fields=["conversation", "type", "created_at", "id"],
                condition=Q(status="pending"),
                name="messages_waiting_in_line",
            ),
            models.Index(fields=["lease_expires_at"], condition=Q(status="sending"), name="messages_lease_ran_out"),
            models.Index(fields=["expires_at"], condition=Q(status="pending"), name="messages_to_expire"),
            models.Index(fields=["settle_at"], condition=Q(status="uncertain"), name="messages_to_settle"),
            models.Index(fields=["report_due_at"], condition=Q(status="sent"), name="messages_to_ask_about"),
            models.Index(
                fields=["sender", "recipient"],
                condition=Q(provider_message_id="", status__in=SETTLED_WITHOUT_AN_ID),
                name="messages_without_provider_id",
            ),
            models.Index(fields=["-created_at", "-id"], name="messages_latest_first"),
            containing_index("body", "messages_body_containing"),
            containing_index("subject", "messages_subject_containing"),
            models.Index(fields=["conversation", "-created_at", "-id"], name="messages_of_conversation"),
            models.Index(
                fields=["message_id_header"], condition=~Q(message_id_header=""), name="messages_by_message_id_header"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"

    @property
    def newly_written(self) -> str:
        """What its author wrote, without the mail quoted below it."""
        return self.body[: self.quoted_from]

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
            attachments=tuple(self.attachments),
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
        return account == self.provider or account in settings.ROUTES[self.type]

    def take_mail_headers(self) -> None:
        """Take the headers by which an answer finds back to this outbound mail, and by which it answers its parent."""
        self.message_id_header = mail_links.message_id_header(self.id, self.sender)
        if self.parent and self.parent.message_id_header:
            self.reference_headers = f"{self.parent.reference_headers} {self.parent.message_id_header}".strip()

    def opt_recipient_out(self, source: str, at: datetime | None = None) -> None:
        """Let the recipient of this outbound message get nothing more from its sender."""
        OptOut.objects.opt_out(channel_type_of(self.type), self.sender, self.recipient, source=source, at=at)

    def record_possible_duplicate(self, detail: str) -> None:
        """Say in the timeline that somebody may get it twice."""
        self.events.create(
            status="possible_duplicate",
            evidence=MessageEvent.Evidence.ASSUMED,
            attempt=self.attempts,
            code="possible_duplicate",
            detail=detail[:500],
        )

    def take_report(self, report: DeliveryReport, received_at: datetime) -> None:
        """Move as the report says, if it may, and record it once. The row must be locked by the caller."""
        attempt, at = report.attempt or self.attempts, report.occurred_at or received_at
        moves = report.status is not None and self._may_move(Status(report.status), attempt)
        if moves:
            self._move_as_reported(report)
        if report.status is not None and (moves or attempt == self.attempts):
            self._note_time(Status(report.status), at)
            self.save()
        if attempt == self.attempts and not self.provider_message_id:
            self._keep_provider_message_id(report.provider_message_id)
        if report.opt_out is not None:
            self.opt_recipient_out(report.opt_out, at)
        self.events.get_or_create(
            status=(report.status or report.provider_status)[:30],
            attempt=attempt,
            evidence=MessageEvent.Evidence.REPORTED,
            code=report.error_code[:50],
            defaults={"detail": (report.error_message or f"The provider says: {report.provider_status}.")[:500]},
        )

    def _may_move(self, status: Status, attempt: int) -> bool:
        if attempt != self.attempts:
            return status == Status.DELIVERED and self.status in RAISED_BY_AN_EARLIER_ATTEMPT
        if self.status == Status.DELIVERED and self._was_delivered_by_another(attempt):
            return False
        return self.status in MOVES[status]

    def _was_delivered_by_another(self, attempt: int) -> bool:
        return self.events.filter(status=Status.DELIVERED).exclude(attempt=attempt).exists()

    def _move_as_reported(self, report: DeliveryReport) -> None:
        self.status = report.status or self.status
        self.next_attempt_at = self.lease_expires_at = self.settle_at = None
        self.report_due_at = timezone.now() + REPORT_STEPS[0] if self.status == Status.SENT else None
        self.error_code, self.error_message = report.error_code[:50], report.error_message[:500]
        self.updated_at = timezone.now()

    def _note_time(self, status: Status, at: datetime) -> None:
        """Keep when something happened, also where the status knows better already: the earliest time counts."""
        self.sent_at = min(self.sent_at or at, at)
        if status == Status.DELIVERED:
            self.delivered_at = min(self.delivered_at or at, at)
        if status == Status.UNDELIVERED:
            self.failed_at = min(self.failed_at or at, at)

    def _keep_provider_message_id(self, provider_message_id: str) -> None:
        """Keep the provider's id, unless another message has it: then that is an event, and the report stands."""
        try:
            with transaction.atomic():
                Message.objects.filter(pk=self.pk).update(provider_message_id=provider_message_id)
        except IntegrityError:
            logger.error("message %s: the provider named another message's id", self.pk)
            self.events.create(
                status=self.status,
                attempt=self.attempts,
                evidence=MessageEvent.Evidence.REPORTED,
                code="provider_id_taken",
                detail="The provider named an id that another message has.",
            )
