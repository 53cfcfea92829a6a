"""Forgetting what was said and with whom, once nothing happened to a message for long enough, or somebody asks for it.

Texts, files, their address and what the timeline says in words go. What is counted stays: ids, directions, statuses,
times, attempts, codes, segments, accounts and our own address; so does the provider's id, by which the same message is
known when it comes again.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Case, Exists, OuterRef, Q, QuerySet, When
from django.db.models.functions import Now
from django.utils import timezone

from conversations.models import Conversation, ConversationEvent, Media, Message, MessageEvent, Note
from conversations.models.status import AT_REST
from conversations.pseudonyms import REDACTED, pseudonym

NOTHING: dict[str, Any] = {
    "subject": "",
    "body": "",
    "html": "",
    "attachments": [],
    "metadata": {},
    "quoted_from": None,
    "reference_headers": "",
    "error_message": "",
}
"""What of a message is no more."""

FILES_OF_ONE = 10
"""As many as a message that we send has at most."""

Replacement = Callable[[str], str]
"""What stands in the place of an address that is not kept."""


def erased(_: str) -> str:
    """Return what tells nothing at all, not even which messages were with the same person."""
    return REDACTED


def kept_for(channels: Collection[str]) -> timedelta | None:
    """Return for how long messages of these channels are kept, by the strictest of them; None where for good."""
    days = [settings.RETENTION_DAYS[channel] for channel in channels]
    return timedelta(days=min(filter(None, days))) if any(days) else None


def due() -> "list[QuerySet[Message]]":
    """Return for each channel the messages to which nothing happened for longer than RETENTION_DAYS_* allow.

    In the order of the index that answers it, or the planner would look for the few that are left among all that were
    redacted already.
    """
    kept = {channel: kept_for([channel]) for channel in settings.RETENTION_DAYS}
    at_rest = Message.objects.filter(redacted_at=None, status__in=AT_REST).order_by("type", "updated_at")
    now = timezone.now()
    return [at_rest.filter(type=channel, updated_at__lt=now - age) for channel, age in kept.items() if age is not None]


def is_due() -> bool:
    """Say whether anything is to be redacted now, or a file of what was redacted to be deleted."""
    files = Media.objects.to_delete().filter(next_attempt_at__lte=timezone.now())
    return files.exists() or any(messages.values_list("pk")[:1] for messages in due())


def redact_due(limit: int) -> int:
    """Redact up to `limit` messages that are due, and the conversations of which nothing else is left; return how many.
    Delete files of what was redacted, now or before.

    Their addresses are replaced by pseudonyms, so that whoever unsubscribes from an old mail is heard.
    """
    ids = [pk for messages in due() for pk in messages.values_list("pk", flat=True)[:limit]][:limit]
    count = redact(ids, pseudonym, "Redacted, as its time of retention is over.") if ids else 0
    Media.objects.delete_due(limit * FILES_OF_ONE)
    return count


def redact(ids: Sequence[UUID], replacement: Replacement, reason: str) -> int:
    """Redact those of these messages that nobody is at work on; return how many. `reason` stands in the timelines.

    Their files can't be had any more, and are still to be deleted from the storage: that may be slow, or refuse, and
    neither may hold up a transaction. The rows know of them until they are.
    """
    with transaction.atomic():
        messages = Message.objects.filter(pk__in=ids, redacted_at=None, status__in=AT_REST)
        conversations = messages.order_by().values("conversation")
        list(Conversation.objects.filter(pk__in=conversations).select_for_update().order_by("pk"))
        rows = list(messages.select_for_update(of=("self",)).order_by("pk").defer("html", "body"))
        redact_rows(rows, replacement, reason)
        redact_conversations({row.conversation_id for row in rows}, replacement)
    return len(rows)


def redact_rows(rows: Sequence[Message], replacement: Replacement, reason: str) -> None:
    """Redact locked messages, and say so in their timelines."""
    now = timezone.now()
    for row in rows:
        inbound = row.direction == Message.Direction.INBOUND
        row.sender = replacement(row.sender) if inbound else row.sender
        row.recipient = row.recipient if inbound else replacement(row.recipient)
        row.message_id_header = "" if inbound else row.message_id_header
        row.redacted_at = now
    Message.objects.bulk_update(rows, ["sender", "recipient", "message_id_header", "redacted_at"])
    ids = [row.pk for row in rows]
    Message.objects.filter(pk__in=ids).update(**NOTHING)
    Media.objects.filter(message__in=ids).update(
        status=Media.Status.MISSING, next_attempt_at=Case(When(~Q(file=""), then=Now())), attempts=0,
        error="It was redacted.", filename="", content_id="", source_url="",
    )  # fmt: skip
    MessageEvent.objects.filter(message__in=ids).update(detail="")
    MessageEvent.objects.bulk_create(
        MessageEvent(
            message=row,
            status=REDACTED,
            evidence=MessageEvent.Evidence.OBSERVED,
            attempt=row.attempts,
            detail=reason,
        )
        for row in rows
    )


def redact_conversations(ids: Iterable[UUID], replacement: Replacement) -> None:
    """Redact those of these locked conversations in which every message is."""
    left = Message.objects.filter(conversation=OuterRef("pk"), redacted_at=None)
    done = list(Conversation.objects.filter(~Exists(left), pk__in=ids))
    for conversation in done:
        redact_conversation(conversation, replacement, our_addresses(conversation))
    redact_audit_trail(done)


def redact_conversation(conversation: Conversation, replacement: Replacement, ours: Collection[str]) -> None:
    """Redact a locked conversation, with its notes, and close it: the pair's next message opens another."""
    for name in ("participant_from", "participant_to"):
        address = getattr(conversation, name)
        if address.casefold() not in ours:
            setattr(conversation, name, replacement(address))
    was_closed = conversation.status == Conversation.Status.CLOSED
    Conversation.objects.filter(pk=conversation.pk).update(
        participant_from=conversation.participant_from,
        participant_to=conversation.participant_to,
        participants_key=f"{REDACTED}:{conversation.pk}",
        status=Conversation.Status.CLOSED,
        title="",
        metadata={},
        unread_count=0,
    )
    Note.objects.filter(conversation=conversation).delete()
    if not was_closed:
        conversation.recorded(ConversationEvent.Kind.CLOSED)


def redact_audit_trail(conversations: Sequence[Conversation]) -> None:
    """Let the audit trail name these conversations no more; who did what with them stays."""
    about = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(Conversation))
    about.filter(object_id__in=[str(each.pk) for each in conversations]).update(object_repr=REDACTED)


def our_addresses(conversation: Conversation) -> set[str]:
    """Return what its messages say is ours, comparable whatever its case."""
    ends = Message.objects.filter(conversation=conversation).values_list("direction", "sender", "recipient")
    return {(sender if way == "outbound" else recipient).casefold() for way, sender, recipient in ends.distinct()}
