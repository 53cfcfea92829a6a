"""Mail that SendGrid's Inbound Parse posts, parsed or as raw MIME, in our words.

Everything in it was written by strangers, and SendGrid's boundary is always the same word, so a mail can write fields
of the form too. What the envelope says is SendGrid's word in the raw mode: its own comes after the mail, and the last
one counts. In the parsed mode a file can't forge it, since files come last and only what stands before the first one
counts; a text can, but only by writing a whole envelope and a file behind it, as the two look the same from there on.
What that gains a stranger is another recipient for the own mail: nothing may be opened to whoever names an address.
The rest of a mail (From, Subject, ids) is its author's word anyway.

Sources: the page
https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook, RFC 5322 for
addresses and ids, and RFC 3834 for automatic mail.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, takewhile
from typing import Any

from providers.base import Callback, CallbackPart, InboundMedia, InboundMessage
from providers.errors import UnreadableCallback
from providers.form_data import Field, read_form
from providers.mime import (
    MOST_MEDIA,
    Content,
    Headers,
    boundary_of,
    content_of,
    header,
    media_type,
    plain_name,
    read_headers,
)
from providers.wire import as_text, json_object, one_line, storable

# More references than any thread needs; the newest are the last.
MOST_REFERENCES = 100
# SendGrid names one, and as many as the mail server took the mail for at once.
MOST_RECIPIENTS = 100
# More than any address or file name has. From may name several addresses, but reading it takes quadratic time.
WORD_CHARACTERS = 2000
# A larger field is no JSON of SendGrid's; parsed, JSON takes thirty times its size.
JSON_BYTES = 512 * 1024

_MESSAGE_ID = re.compile(r"<[^<>\s]{1,995}>")
_ATTACHMENT = re.compile(r"attachment(\d{1,6})")
# Quoted strings, comments, <addresses>, and what separates one mailbox from the next (RFC 5322 §3.4).
_ADDRESS_TOKEN = re.compile(
    r'(?P<quoted>"(?:[^"\\]|\\.)*"(?:@[^\s<>(),:;"]+)?)|\((?:[^()\\]|\\.)*\)|<(?P<angle>[^<>]*)>'
    r'|(?P<end>[,;:])|(?P<word>[^\s"(),:;<>]+)|.',
    re.DOTALL,
)
_BULK = frozenset({"bulk", "junk", "list", "auto_reply"})
_AUTOREPLY_HEADERS = ("X-Autoreply", "X-Autorespond", "X-Auto-Reply")


@dataclass(frozen=True, slots=True)
class _Post:
    """One request of Inbound Parse: SendGrid's own fields, the files, and the headers of the mail in either mode."""

    fields: Mapping[str, Field]
    files: Mapping[str, Field]
    headers: Headers
    envelope: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A field, decoded by the charset that `charsets` names for it."""
        field = self.fields.get(name)
        charset = self.json("charsets").get(name)
        return as_text(field.content, charset if isinstance(charset, str) else "utf-8") if field else ""

    def json(self, name: str) -> Mapping[str, Any]:
        """A field that holds a JSON object, {} when it holds none."""
        return _json(self.fields, name)

    @property
    def written_from(self) -> str:
        """What stands in From; where it is missing, SendGrid's decoded copy."""
        return (self.headers.get("from", "") or self.text("from"))[:WORD_CHARACTERS]

    @property
    def written_to(self) -> str:
        return (self.text("to") or self.headers.get("to", ""))[:WORD_CHARACTERS]


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
    fields, files = _told_apart(read_form(content_type, body))
    source = fields.get("email") or fields.get("headers")
    headers = read_headers(source.content if source else b"")
    return _Post(fields=fields, files=files, headers=headers, envelope=_json(fields, "envelope"))


def _told_apart(form: Sequence[Field]) -> tuple[Mapping[str, Field], Mapping[str, Field]]:
    """SendGrid's own fields, and the files. What can be forged, and what can't, is told at the top of this module.

    Of fields with the same name the last one counts.
    """
    first = next((field.name for field in form if field.name in {"email", "headers"}), "")
    own = form if first == "email" else list(takewhile(lambda field: not _ATTACHMENT.fullmatch(field.name), form))
    if not any(field.name == "envelope" for field in own):
        own = form
    files = [field for field in form if _ATTACHMENT.fullmatch(field.name)]
    return {field.name: field for field in own}, {field.name: field for field in files}


def _json(fields: Mapping[str, Field], name: str) -> dict[str, Any]:
    content = fields[name].content if name in fields else b""
    return json_object(content) if len(content) <= JSON_BYTES else {}


def _identity(content_type: str, body: bytes, post: _Post | None = None) -> str:
    """What the mail is known by when it comes again: Message-ID, sender and recipients; no event id exists.

    With the sender, so that nobody who has seen a Message-ID can take the place of the mail by sending it first.
    Without a Message-ID, or in what is no form, the bytes without their boundary, which is new at every repetition.
    """
    try:
        post = post or _post(content_type, body)
        message_id = _first_id(header(post.headers, "Message-ID"))
        told = json.dumps([message_id, _sender(post), _recipients(post)]).encode()
    except Exception:  # as for reading; a mail that can't be read has an identity all the same
        message_id, told = "", b""
    if not message_id:
        boundary = boundary_of(content_type)
        told = body.replace(boundary, b"") if boundary else body
    return sha256(told).hexdigest()


def _message(post: _Post, identity: str) -> InboundMessage:
    sender, recipients = _sender(post), _recipients(post)
    if not sender or not recipients:
        raise UnreadableCallback(f"The mail has no {'recipient' if sender else 'sender'}.")
    content = content_of(post.fields["email"].content) if "email" in post.fields else _parsed_content(post)
    return InboundMessage(
        provider_message_id=identity,
        channel="email",
        sender=sender,
        recipient=recipients[0],
        recipients=tuple(recipients),
        body=content.text,
        subject=one_line(post.text("subject")) or header(post.headers, "Subject"),
        html=content.html,
        media=content.media,
        media_left_out=content.media_left_out,
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
    """The first address in From, as its author wrote it; else the return path; else what stands in From."""
    return _address(post.written_from) or _word(post.envelope.get("from")) or one_line(post.written_from)


def _recipients(post: _Post) -> Sequence[str]:
    """Whom the mail server delivered it to; To may name others, or nobody, and counts only without an envelope."""
    told = post.envelope.get("to")
    words = [word for each in (told if isinstance(told, list) else [told]) if (word := _word(each))]
    if words:
        return words[:MOST_RECIPIENTS]
    written = _address(post.written_to) or one_line(post.written_to)
    return [written] if written else []


def _word(value: object) -> str:
    return one_line(value[:WORD_CHARACTERS]) if isinstance(value, str) else ""


def _address(text: str) -> str:
    """The first address without its display name, or the one word that stands there (MAILER-DAEMON); "" for neither.

    Before anything is decoded, since what an encoded word hides is part of a name.
    """
    mailboxes = list(_mailboxes(text))
    if found := next((each for each in mailboxes if "@" in each), ""):
        return found
    return text.strip() if mailboxes == [text.strip()] and not text.strip().startswith("=?") else ""


def _mailboxes(text: str) -> Iterator[str]:
    """What stands in each mailbox of a list: what is in its last <>, else its last word."""
    angle, word = "", ""
    for token in chain(_ADDRESS_TOKEN.finditer(text), [None]):
        if token is None or token["end"]:
            yield one_line(angle or word)
            angle, word = "", ""
        else:
            angle = (token["angle"] or "").strip() or angle
            word = token["word"] or token["quoted"] or word


def _is_automatic(post: _Post) -> bool:
    """By RFC 3834 §5 and §2: says that it is automatic, or asks for no answer by an empty return path."""
    submitted = re.match(r"[\w-]*", header(post.headers, "Auto-Submitted").lower())
    return (
        (submitted is not None and submitted[0] not in {"", "no"})
        or header(post.headers, "Precedence").lower() in _BULK
        or any(header(post.headers, name).lower() not in {"", "no"} for name in _AUTOREPLY_HEADERS)
        or post.envelope.get("from") == ""
    )


def _parsed_content(post: _Post) -> Content:
    names = sorted(post.files, key=lambda name: int(name.removeprefix("attachment")))
    ids = {name: content_id for content_id, name in post.json("content-ids").items() if isinstance(name, str)}
    told = post.json("attachment-info")
    media = tuple(_attachment(post.files[name], told.get(name), ids.get(name, "")) for name in names[:MOST_MEDIA])
    return Content(post.text("text"), post.text("html"), media, len(names) - len(media))


def _attachment(field: Field, told: object, content_id: str) -> InboundMedia:
    """A file of the form; `told` is its entry in attachment-info, {"filename", "name", "type", "content-id"}."""
    info = told if isinstance(told, dict) else {}
    return InboundMedia(
        content=field.content,
        content_type=media_type(field.content_type or _word(info.get("type"))),
        filename=plain_name(_word(info.get("filename")) or _word(info.get("name")) or field.filename),
        content_id=(_word(info.get("content-id")) or storable(content_id)).strip("<> ")[:255],
    )
