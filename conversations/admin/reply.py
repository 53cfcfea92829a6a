"""What staff write in a conversation: answers, which go the way of the API, and how they would be sent."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from django import forms
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest
from rest_framework import serializers

from conversations.admin.files import chosen, kept
from conversations.admin.thread import Sides
from conversations.api import idempotency
from conversations.api.preview import counted
from conversations.api.send import SendRequest, hand_over, outbound
from conversations.models import Conversation, Media, Message
from conversations.models.media import MEDIA_PATH

NAMED_CHARACTERS = 8
Record = Callable[[Message], None]


@dataclass(frozen=True)
class Staff:
    """Whoever of the staff sends, as the API sees its clients: from every address, in the lane of the conversation."""

    test: bool
    pk: ClassVar[None] = None
    senders: ClassVar[tuple[str, ...]] = ()

    def may_send_from(self, sender: str) -> bool:
        """Say yes."""
        return True


class ReplyForm(forms.Form):
    """An answer. `key` names the form that was filled in, so that it sends once however often it arrives."""

    key = forms.UUIDField()
    subject = forms.CharField(required=False, max_length=998)
    body = forms.CharField(strip=False, required=False)


class ReplyRequest(SendRequest):
    """A send whose attachments are files that we keep."""

    attachments = serializers.ListField(child=serializers.CharField(), default=list)


def reply(conversation: Conversation, form: dict[str, Any], request: HttpRequest, record: Record) -> Message:
    """Accept an answer to the other side of a conversation, in that conversation, and ring for it; return the message.

    The same form makes one message, and is recorded with it. Raises the API's errors for what the API would refuse.
    """
    files = chosen(request.FILES.getlist("files"), conversation)
    user = cast(AbstractBaseUser, request.user)
    client, key = Staff(conversation.test), f"staff-{user.pk}-{form['key']}"
    content = {"conversation": str(conversation.pk), "subject": form["subject"], "body": form["body"]}
    content |= {"files": [each.digest for each in files]} if files else {}
    if made := idempotency.made_before(client, key, content):
        return made
    attachments = [f"{MEDIA_PATH}{each.id}" for each in files]
    wish = ReplyRequest(
        data=send_request(conversation, form) | {"attachments": attachments}, context={"client": client}
    )
    wish.is_valid(raise_exception=True)
    values = dict(wish.validated_data)
    kind = values.pop("conversation_type")
    message = outbound(values | {"author": user}, client, request.request_id)  # type: ignore[attr-defined]

    with kept(files, message) as media:

        def accept(unsaved: Message) -> None:
            accepted = Message.objects.accept(unsaved, conversation_type=kind, conversation_id=conversation.pk)
            Media.objects.bulk_create(media)
            record(accepted)

        made = idempotency.make_once(client, key, content, message, accept)
    return made or hand_over(message)


def send_request(conversation: Conversation, form: dict[str, Any]) -> dict[str, Any]:
    """Return the body of the send that an answer is. It names the newest inbound message, so that mails thread."""
    sides = Sides.of(conversation)
    is_email = conversation.channel_type == Conversation.ChannelType.EMAIL
    return {
        "type": "email" if is_email else "sms",
        "from": sides.ours,
        "to": sides.theirs,
        "body": form["body"].replace("\r\n", "\n"),
        "subject": form["subject"] if is_email else "",
        "parent_id": str(sides.newest.pk) if sides.newest else None,
    }


def subject_of_reply(newest: Message | None) -> str:
    """Return the subject of an answer to a mail."""
    subject = newest.subject if newest else ""
    return subject if not subject or subject.lower().startswith("re:") else f"Re: {subject}"[:998]


def preview(text: str) -> dict[str, Any]:
    """Return how a text would be sent, with the names of the characters that cost a longer encoding."""
    strange = counted(Message.Type.SMS, text)
    named = [
        {"character": each, "name": unicodedata.name(each, f"U+{ord(each):04X}").lower()}
        for each in strange["ucs2_characters"][:NAMED_CHARACTERS]
    ]
    return {**strange, "ucs2_characters": named, "others": max(0, len(strange["ucs2_characters"]) - NAMED_CHARACTERS)}
