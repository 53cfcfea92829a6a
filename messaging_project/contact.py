"""Everything that we hold of one number or address."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q, QuerySet, TextField
from django.db.models.functions import Cast

from conversations.addresses import normalise_email, normalise_leniently, normalise_phone
from conversations.models import (
    Conversation,
    ConversationEvent,
    IdempotencyKey,
    Media,
    Message,
    MessageEvent,
    Note,
    OptOut,
)
from conversations.models.opt_out import OptOutQuerySet
from conversations.pseudonyms import pseudonyms
from webhooks.models import Delivery, Receipt
from webhooks.models.delivery import DeliveryQuerySet

RECEIPTS_AT_ONCE = 10_000
LONGEST_SENDER = 11
"""Characters that a short code or a name which sends texts has at most."""


def read_address(text: str, region: str | None) -> str:
    """Return a number or an address as messages keep it, also a short code or a name. Raises `InvalidAddress`."""
    if "@" in text:
        return normalise_email(text)
    if len(text.strip()) <= LONGEST_SENDER and not text.strip().startswith("+"):
        return normalise_leniently(text)
    return normalise_phone(text, region)


@dataclass
class Contact:
    """Somebody by an address, as messages keep it, with what stands for it where it was redacted.

    Of a conversation with them everything is theirs, whoever wrote it; of others what they wrote, or what was written
    to them. Messages are looked through once, when it is made.
    """

    address: str
    conversation_ids: set[UUID] = field(init=False)
    message_ids: set[UUID] = field(init=False)
    is_ours: bool = field(init=False)

    def __post_init__(self) -> None:
        """Find the messages and conversations."""
        self.conversation_ids, self.message_ids, self.is_ours = set(), set(), False
        ends = ("direction", "sender", "recipient")
        for pk, way, sender, recipient in Message.objects.filter(self._named(*ends[1:])).values_list("pk", *ends):
            theirs, ours = (recipient, sender) if way == Message.Direction.OUTBOUND else (sender, recipient)
            self.is_ours = self.is_ours or self.is_named(ours)
            self.message_ids |= {pk} if self.is_named(theirs) else set()
        with_them = Conversation.objects.filter(self._named("participant_from", "participant_to"))
        self.conversation_ids |= set(with_them.values_list("pk", flat=True))

    @property
    def names(self) -> list[str]:
        """The address, and what stands for it."""
        return [self.address, *pseudonyms(self.address)]

    @property
    def pattern(self) -> str:
        """A regular expression, of Python and of PostgreSQL alike, that finds the address in a text in any case."""
        if "@" in self.address:
            return rf"(?<![A-Za-z0-9._+-]){re.escape(self.address)}(?![A-Za-z0-9-]|\.[A-Za-z0-9])"
        if self.address.startswith("+"):
            return rf"\+?(?<![0-9]){re.escape(self.address[1:])}(?![0-9])"
        return rf'(?<=["=>]){re.escape(self.address)}(?=["&<])'

    def is_named(self, address: str) -> bool:
        """Say whether somebody with this address is meant."""
        return address.casefold() in {each.casefold() for each in self.names}

    def _named(self, *fields: str) -> Q:
        found = Q()
        for name in fields:
            found |= Q(**{f"{name}__iexact": self.address}) | Q(**{f"{name}__in": pseudonyms(self.address)})
        return found

    def conversations(self) -> QuerySet[Conversation]:
        """Return the conversations with them."""
        return Conversation.objects.filter(pk__in=self.conversation_ids).order_by("created_at", "id")

    def messages(self) -> QuerySet[Message]:
        """Return the messages in those, and those with them elsewhere, such as a mail sent on to somebody else's."""
        found = Message.objects.filter(Q(conversation__in=self.conversation_ids) | Q(pk__in=self.message_ids))
        return found.order_by("created_at", "id")

    def message_events(self) -> QuerySet[MessageEvent]:
        """Return the timelines of the messages."""
        return MessageEvent.objects.filter(message__in=self.messages().order_by().values("pk"))

    def conversation_events(self) -> QuerySet[ConversationEvent]:
        """Return what happened to the conversations."""
        return ConversationEvent.objects.filter(conversation__in=self.conversation_ids)

    def media(self) -> QuerySet[Media]:
        """Return the files that came with the messages."""
        return Media.objects.filter(message__in=self.messages().order_by().values("pk")).order_by("created_at", "id")

    def notes(self) -> QuerySet[Note]:
        """Return what staff wrote down beside the conversations."""
        return Note.objects.filter(conversation__in=self.conversation_ids).order_by("at", "id")

    def opt_outs(self) -> OptOutQuerySet:
        """Return what they want no messages from, or wanted none."""
        return OptOut.objects.filter(self._named("their_address")).order_by("opted_out_at", "id")

    def idempotency_keys(self) -> QuerySet[IdempotencyKey]:
        """Return the keys under which the messages were posted."""
        return IdempotencyKey.objects.filter(message__in=self.messages().order_by().values("pk")).order_by("pk")

    def deliveries(self) -> DeliveryQuerySet:
        """Return what subscribers were told of the conversations and the messages."""
        elsewhere = Message.objects.filter(pk__in=self.message_ids).values("conversation")
        told = Q(conversation__in=elsewhere, payload__iregex=self.pattern)
        return Delivery.objects.filter(Q(conversation__in=self.conversation_ids) | told).order_by("created_at", "id")

    def log_entries(self) -> QuerySet[LogEntry]:
        """Return the lines of the audit trail that name them, or are about a conversation with them."""
        named = Q(object_repr__iregex=self.pattern) | Q(change_message__iregex=self.pattern)
        about = Q(
            content_type=ContentType.objects.get_for_model(Conversation),
            object_id__in=[str(pk) for pk in self.conversation_ids],
        )
        return LogEntry.objects.filter(named | about).order_by("action_time", "pk")

    def receipts(self) -> Iterator[Receipt]:
        """Yield the callbacks that name them: in what is kept in the row, or in the mail that came."""
        newest = Receipt.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        compiled = re.compile(self.pattern.encode(), re.IGNORECASE)
        for first in range(0, newest + 1, RECEIPTS_AT_ONCE):
            some = Receipt.objects.filter(pk__gt=first, pk__lte=first + RECEIPTS_AT_ONCE).order_by("pk")
            yield from some.annotate(text=Cast("payload", TextField())).filter(text__iregex=self.pattern)
            yield from (each for each in some.exclude(body="") if compiled.search(mail_of(each)))

    def tables(self) -> dict[str, Iterable[Model]]:
        """Return all of it, by the name of what it is."""
        return {
            "conversations": self.conversations(),
            "conversation_events": self.conversation_events(),
            "notes": self.notes(),
            "messages": self.messages(),
            "message_events": self.message_events(),
            "media": self.media(),
            "opt_outs": self.opt_outs(),
            "receipts": self.receipts(),
            "deliveries": self.deliveries(),
            "idempotency_keys": self.idempotency_keys(),
            "log_entries": self.log_entries(),
        }


def mail_of(receipt: Receipt) -> bytes:
    """Return the mail of a receipt as it came, nothing where the storage has it no more."""
    try:
        with receipt.body.open() as file:
            return bytes(file.read())
    except FileNotFoundError:
        return b""


def as_dict(row: Model) -> dict[str, Any]:
    """Return a row with every column that it has."""
    values = {each.attname: getattr(row, each.attname) for each in row._meta.concrete_fields}
    return {name: str(value) if hasattr(value, "storage") else value for name, value in values.items()}
