"""Mail that SendGrid's Inbound Parse posts, parsed or as raw MIME, in our words.

Everything in it was written by strangers. Sources: the page
https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook, RFC 5322 for
addresses and ids, and RFC 3834 for automatic mail.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from hashlib import sha256
from typing import Any

from providers.base import Callback, CallbackPart, InboundMedia, InboundMessage
from providers.errors import UnreadableCallback
from providers.form_data import Field, boundary_of, read_form
from providers.mime import content_of, header, media_type, plain_name, read_headers, read_mime
from providers.wire import as_text, json_object, storable

# More references than any thread needs; the newest are the last.
MOST_REFERENCES = 100

_MESSAGE_ID = re.compile(r"<[^<>\s]{1,995}>")
_ATTACHMENT = re.compile(r"attachment(\d{1,6})")
# A name before the address may look like one ("boss@example.com" <stranger@example.com>), so the end decides.
_LAST_ADDRESS = re.compile(r"<([^<>]*[^<>\s][^<>]*)>[\s,;]*(?:\([^()]*\)\s*)?\Z")
_BULK = frozenset({"bulk", "junk", "list", "auto_reply"})
_AUTOREPLY_HEADERS = ("X-Autoreply", "X-Autorespond", "X-Auto-Reply")


@dataclass(frozen=True, slots=True)
class _Post:
    """One request of Inbound Parse: its form, and the headers of the mail, which both modes bring."""

    fields: Mapping[str, Field]
    headers: EmailMessage
    envelope: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A field, decoded by the charset that `charsets` names for it."""
        field = self.fields.get(name)
        charset = self.json("charsets").get(name)
        return as_text(field.content, charset if isinstance(charset, str) else "utf-8") if field else ""

    def json(self, name: str) -> Mapping[str, Any]:
        """A field that holds a JSON object, {} when it holds none."""
        return _json(self.fields, name)


def read_part(callback: Callback) -> CallbackPart:
    """The mail in the callback, whole; nothing is refused, as SendGrid drops a refused mail for good.

    The payload is {"content_type", "size"}, the part's `body` the request's body as it came.
    """
    content_type = storable(callback.headers["content-type"])
    return CallbackPart(
        dedupe_key=f"sendgrid:{_identity(content_type, callback.body)}",
        kind="inbound",
        payload={"content_type": content_type, "size": len(callback.body)},
        body=callback.body,
    )


def read_inbound(payload: Mapping[str, Any], body: bytes) -> InboundMessage:
    """See `Provider.read_inbound`. Payload and body are those of `read_part`."""
    content_type = payload.get("content_type")
    if not isinstance(content_type, str):
        raise UnreadableCallback("The payload is not one of Inbound Parse.")
    if not body and payload.get("size"):
        raise UnreadableCallback("The mail was kept without its body.")
    try:
        post = _post(content_type, body)
        return _message(post, _identity(content_type, body, post))
    except UnreadableCallback:
        raise
    except Exception as error:  # the standard library promises nothing about broken mail
        raise UnreadableCallback(f"The mail can't be parsed ({type(error).__name__}).") from None


def _post(content_type: str, body: bytes) -> _Post:
    fields = read_form(content_type, body)
    source = fields.get("email") or fields.get("headers")
    headers = read_headers(source.content if source else b"")
    return _Post(fields=fields, headers=headers, envelope=_json(fields, "envelope"))


def _json(fields: Mapping[str, Field], name: str) -> dict[str, Any]:
    return json_object(fields[name].content) if name in fields else {}


def _identity(content_type: str, body: bytes, post: _Post | None = None) -> str:
    """What the mail is known by when it comes again: Message-ID and envelope recipients; no event id exists.

    Without a Message-ID, or in what is no form, the bytes without their boundary, which is new at every repetition.
    """
    try:
        post = post or _post(content_type, body)
        message_id = _first_id(header(post.headers, "Message-ID"))
        told = json.dumps([message_id, _recipients(post.envelope)]).encode()
    except Exception:  # as for reading; a mail that can't be read has an identity all the same
        message_id, told = "", b""
    if not message_id:
        boundary = boundary_of(content_type)
        told = body.replace(boundary, b"") if boundary else body
    return sha256(told).hexdigest()


def _message(post: _Post, identity: str) -> InboundMessage:
    sender, recipient = _sender(post), _recipient(post)
    if not sender or not recipient:
        raise UnreadableCallback(f"The mail has no {'recipient' if sender else 'sender'}.")
    text, html, media = _raw_content(post.fields["email"]) if "email" in post.fields else _parsed_content(post)
    return InboundMessage(
        provider_message_id=identity,
        channel="email",
        sender=sender,
        recipient=recipient,
        body=text,
        subject=post.text("subject") or header(post.headers, "Subject"),
        html=html,
        media=media,
        message_id_header=_first_id(header(post.headers, "Message-ID")),
        in_reply_to=_first_id(header(post.headers, "In-Reply-To")),
        references=tuple(_MESSAGE_ID.findall(header(post.headers, "References"))[-MOST_REFERENCES:]),
        automatic=_is_automatic(post),
    )


def _first_id(text: str) -> str:
    """The first message id (RFC 5322 §3.6.4); what stands there instead, when it is one word without brackets."""
    found = _MESSAGE_ID.search(text)
    if found:
        return found[0]
    return f"<{text}>" if re.fullmatch(r"[^<>\s]{1,995}", text) else ""


def _sender(post: _Post) -> str:
    """The address in From, as its author wrote it; SendGrid's decoded copy and the return path stand in for it."""
    written = header(post.headers, "From") or post.text("from")
    return _address(written) or _word(post.envelope.get("from"))


def _recipient(post: _Post) -> str:
    """Whom the mail server delivered it to; To may name others, or nobody."""
    recipients = _recipients(post.envelope)
    return recipients[0] if recipients else _address(post.text("to") or header(post.headers, "To"))


def _recipients(envelope: Mapping[str, Any]) -> Sequence[str]:
    told = envelope.get("to")
    return [word for each in (told if isinstance(told, list) else [told]) if (word := _word(each))]


def _word(value: object) -> str:
    return storable(value).strip() if isinstance(value, str) else ""


def _address(text: str) -> str:
    """The address without its display name; all of the text when it has no angle brackets."""
    found = _LAST_ADDRESS.search(text)
    return found[1].strip() if found else re.sub(r"\([^()]*\)", "", text).strip()


def _is_automatic(post: _Post) -> bool:
    """By RFC 3834 §5 and §2: says that it is automatic, or asks for no answer by an empty return path."""
    submitted = re.match(r"[\w-]*", header(post.headers, "Auto-Submitted").lower())
    return (
        (submitted is not None and submitted[0] not in {"", "no"})
        or header(post.headers, "Precedence").lower() in _BULK
        or any(header(post.headers, name).lower() not in {"", "no"} for name in _AUTOREPLY_HEADERS)
        or post.envelope.get("from") == ""
    )


def _raw_content(field: Field) -> tuple[str, str, tuple[InboundMedia, ...]]:
    return content_of(read_mime(field.content))


def _parsed_content(post: _Post) -> tuple[str, str, tuple[InboundMedia, ...]]:
    numbered = sorted((int(found[1]), name) for name in post.fields if (found := _ATTACHMENT.fullmatch(name)))
    ids = {name: content_id for content_id, name in post.json("content-ids").items() if isinstance(name, str)}
    told = post.json("attachment-info")
    media = tuple(_attachment(post.fields[name], told.get(name), ids.get(name, "")) for _, name in numbered)
    return post.text("text"), post.text("html"), media


def _attachment(field: Field, told: object, content_id: str) -> InboundMedia:
    """A file of the form; `told` is its entry in attachment-info, {"filename", "name", "type", "content-id"}."""
    info = told if isinstance(told, dict) else {}
    return InboundMedia(
        content=field.content,
        content_type=media_type(field.content_type or _word(info.get("type"))),
        filename=plain_name(_word(info.get("filename")) or _word(info.get("name")) or field.filename),
        content_id=(_word(info.get("content-id")) or storable(content_id)).strip("<> ")[:255],
    )
