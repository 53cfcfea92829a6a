"""Taking in what people wrote to us: into which conversation, with which files, and whether it was STOP."""

from datetime import datetime
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from conversations import mail_links
from conversations.addresses import normalise_leniently
from conversations.keywords import keyword_in
from conversations.log_context import spoken_of
from conversations.models import Conversation, Media, Message, MessageEvent, OptOut
from conversations.models.conversation import channel_type_of, key_of
from conversations.models.message import MESSAGE_ID_CHARACTERS
from conversations.models.status import Status
from conversations.quoted_text import quote_begins
from providers import routes
from providers.base import InboundMessage, Keyword

# More than anybody writes by hand. Whoever lists messages loads their texts; the whole mail is kept in its receipt.
MOST_TEXT, MOST_HTML = 200_000, 500_000


def receive(provider: str, inbound: InboundMessage, received_at: datetime | None = None) -> Message:
    """Keep an inbound message once, however often and from how many sides at a time it comes; return it.

    A mail joins the conversation of the message that it answers, a text the open conversation in which we last wrote to
    its sender from its recipient; else it goes to the pair's open direct one, made if needed. Files that it brought
    along are in the storage by then, those still to be fetched are due. STOP and START take effect, from when they were
    said on; `received_at` (now) stands in for that where the provider says nothing.
    """
    message = message_of(provider, inbound)
    known = Message.objects.filter(provider=provider, provider_message_id=message.provider_message_id)
    if message.provider_message_id and (received := known.first()):
        return received
    media = Media.objects.store(inbound.media, f"media/{message.provider_message_id or uuid4()}")
    message.attachments = [each.get_absolute_url() for each in media]
    try:
        with transaction.atomic():
            Message.objects.insert(message, Conversation.Type.DIRECT, conversation_of(message))
            for each in media:
                each.message = message
            Media.objects.bulk_create(media)
            heed_keyword(message, inbound.keyword, inbound.occurred_at or received_at or timezone.now())
            record_what_was_left_out(message, inbound)
    except IntegrityError:
        return known.get()
    return message


def message_of(provider: str, inbound: InboundMessage) -> Message:
    """Return an unsaved message for what a provider brought. Inbound addresses are never refused."""
    message = Message(
        direction=Message.Direction.INBOUND,
        status=Status.RECEIVED,
        type=inbound.channel,
        sender=normalise_leniently(inbound.sender),
        recipient=normalise_leniently(inbound.recipient),
        body=inbound.body,
        segments=inbound.segments,
        provider=provider,
        provider_message_id=inbound.provider_message_id,
        request_id=spoken_of.get().get("request_id") or "",
        test=routes.is_test(provider),
    )
    if inbound.channel == "email":
        add_mail(message, inbound)
    return message


def add_mail(message: Message, inbound: InboundMessage) -> None:
    """Add what only a mail has. One that came to a plus-address came to whoever sent what it answers."""
    message.subject = inbound.subject[:998]
    message.body, message.html = inbound.body[:MOST_TEXT], inbound.html[:MOST_HTML]
    message.quoted_from = quote_begins(message.body)
    message.automatic = inbound.automatic
    message.reference_headers = " ".join(inbound.references)
    if len(inbound.message_id_header) <= MESSAGE_ID_CHARACTERS:
        message.message_id_header = inbound.message_id_header
    message.parent = replied_to(inbound, test=message.test)
    if message.parent:
        message.recipient = message.parent.sender
    else:
        message.parent = named_by(inbound, message.sender, test=message.test)


def replied_to(inbound: InboundMessage, *, test: bool) -> Message | None:
    """Return the message to whose plus-address a mail was sent, among whomever else."""
    addresses = (inbound.recipient, *inbound.recipients)
    ids = [message_id for each in addresses if (message_id := mail_links.message_replied_to(each))]
    return Message.objects.filter(pk__in=ids[:1], test=test).first()


def named_by(inbound: InboundMessage, sender: str, *, test: bool) -> Message | None:
    """Return the newest message that a mail says it answers, in whose conversation its sender takes part."""
    headers = [header for header in (inbound.in_reply_to, *inbound.references) if header]
    named = Q(pk__in=mail_links.message_ids_in(headers)) | Q(message_id_header__in=headers)
    takes_part = Q(conversation__participant_from__iexact=sender) | Q(conversation__participant_to__iexact=sender)
    return (
        Message.objects.filter(named, takes_part, type=Message.Type.EMAIL, test=test)
        .only("id", "conversation_id", "created_at")
        .order_by("-created_at")
        .first()
    )


def conversation_of(message: Message) -> UUID | None:
    """Return the conversation that an inbound message joins if that is open; None for the pair's direct one."""
    if message.type == Message.Type.EMAIL:
        return message.parent.conversation_id if message.parent else None
    return Conversation.objects.last_written_in(
        key_of(message.type, message.sender, message.recipient, test=message.test)
    )


def heed_keyword(message: Message, recognised: Keyword | None, at: datetime) -> None:
    """Let a STOP or START in a text take effect; what the provider recognised is worth more than the words.

    One that comes late, such as by `backfill`, changes nothing that was said after `at`.
    """
    if message.type == Message.Type.EMAIL:
        return
    channel_type = channel_type_of(message.type)
    ours, theirs, test = message.recipient, message.sender, message.test
    pair = OptOut.objects.between(channel_type, ours, theirs, test=test)
    match recognised or keyword_in(message.body):
        case "stop" if not started_since(message, at):
            OptOut.objects.opt_out(channel_type, ours, theirs, test=test, source=OptOut.Source.KEYWORD, at=at)
            record(message, "opted_out", "The sender wants no more messages from this number.")
        case "start" if pair.lift(source=OptOut.Source.KEYWORD, at=at):
            record(message, "opted_in", "The sender wants messages from this number again.")


def started_since(message: Message, at: datetime) -> bool:
    """Say whether a START came from the same sender after `at`, while there was nothing yet that it could lift."""
    later = Message.objects.filter(
        direction=Message.Direction.INBOUND,
        sender=message.sender,
        recipient=message.recipient,
        test=message.test,
        created_at__gt=at,
        type__in=[Message.Type.SMS, Message.Type.MMS],
    )
    return any(keyword_in(body) == "start" for body in later.exclude(pk=message.pk).values_list("body", flat=True))


def record_what_was_left_out(message: Message, inbound: InboundMessage) -> None:
    """Say what of a mail only its receipt holds."""
    if len(message.body) < len(inbound.body) or len(message.html) < len(inbound.html):
        record(message, "cut", "The text is longer than is kept here; the mail as it came is in its receipt.")
    if inbound.media_left_out:
        record(message, "cut", f"{inbound.media_left_out} more files are in the mail as it came, in its receipt.")


def record(message: Message, status: str, detail: str) -> None:
    """Add to a message's timeline what we made of it."""
    message.events.create(status=status, evidence=MessageEvent.Evidence.OBSERVED, detail=detail)
