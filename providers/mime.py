"""A mail as RFC 5322 and MIME write it, read by the standard library with its holes covered.

What a stranger can make large is bounded: the length of a header and the depth and number of parts, since the email
package takes quadratic time in the first two.
"""

import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import EmailPolicy
from typing import Any

from providers.base import InboundMedia
from providers.errors import UnreadableCallback
from providers.wire import as_text, storable

# Longer than any header that we read has to be: References of a long thread, and what a part says of itself. Reading
# 16 KB of nonsense in Content-Type took 3 s, and each part may say it again.
HEADER_CHARACTERS = 16 * 1024
PART_HEADER_CHARACTERS = 2 * 1024
HEADERS_BYTES = 256 * 1024
DEEPEST_PART = 20
MOST_PARTS = 1000

_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,100}")


class _Policy(EmailPolicy):
    """The default policy, with headers cut to a bearable length and read as UTF-8 (RFC 6532) rather than ASCII."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        most = PART_HEADER_CHARACTERS if name.lower().startswith("content-") else HEADER_CHARACTERS
        return name, as_text(value[:most].encode("utf-8", "surrogateescape"))

    def header_fetch_parse(self, name: str, value: str) -> Any:
        try:
            return super().header_fetch_parse(name, value)
        except Exception:  # the parsers of structured headers fail on broken ones in ways that they don't promise
            return "".join(value.splitlines())


class _Part(EmailMessage):
    """A mail or a part of one, that refuses to become too deep or to have too many parts."""

    depth = 0

    def attach(self, payload: Any) -> None:  # the parser attaches what the policy's factory made
        super().attach(payload)
        payload.depth = self.depth + 1
        if self.depth >= DEEPEST_PART or len(self.get_payload()) > MOST_PARTS:
            raise UnreadableCallback("The mail is nested too deeply, or in too many parts.")


# What an attached mail is written back with, as it came.
_POLICY = _Policy(message_factory=_Part, refold_source="none", utf8=True)


def read_headers(raw: bytes) -> EmailMessage:
    """The mail's headers, without its body; what stands behind the first `HEADERS_BYTES` is left out."""
    head = raw.lstrip(b"\r\n")[:HEADERS_BYTES]
    return _parsed(_END_OF_HEADERS.split(head, maxsplit=1)[0])


def read_mime(raw: bytes) -> EmailMessage:
    """The whole mail. Raises `UnreadableCallback` past `DEEPEST_PART` or `MOST_PARTS`."""
    return _parsed(raw.lstrip(b"\r\n"))


def _parsed(raw: bytes) -> EmailMessage:
    # Without an explicit class the parser asks the policy's factory for every part.
    return BytesParser(policy=_POLICY).parsebytes(raw)  # type: ignore[return-value]


def header(mail: EmailMessage, name: str) -> str:
    """The header's text, encoded words decoded where they can be, fit for the database; "" when it is missing."""
    return str(storable(str(mail[name] or ""))).strip()


def content_of(mail: EmailMessage) -> tuple[str, str, tuple[InboundMedia, ...]]:
    """Text, HTML and everything else. Several texts of a mail (as around a picture) follow each other."""
    texts: list[str] = []
    pages: list[str] = []
    media: list[InboundMedia] = []
    for part in _leaves(mail):
        kind = _told(part.get_content_type)
        if _told(part.get_content_disposition) == "attachment" or _told(part.get_filename) or not _is_text(kind):
            media.append(_media(part))
        else:
            (pages if kind == "text/html" else texts).append(_text(part))
    return "\n".join(texts), "\n".join(pages), tuple(media)


def _told(question: Callable[[], str | None]) -> str:
    """What a part says of itself, "" when it says nothing or nothing that the standard library can read."""
    try:
        return question() or ""
    except Exception:  # as in `_Policy`
        return ""


def _is_text(kind: str) -> bool:
    # A multipart that has no parts is text with a wrong label.
    return kind in {"text/plain", "text/html"} or kind.startswith("multipart/")


def _leaves(part: Any) -> Iterator[EmailMessage]:
    """The parts without parts; a mail attached to the mail is one."""
    if _told(part.get_content_maintype) == "multipart" and part.is_multipart():
        for child in part.get_payload():
            yield from _leaves(child)
    else:
        yield part


def _text(part: EmailMessage) -> str:
    return as_text(_bytes(part), _told(part.get_content_charset) or "utf-8")


def _media(part: EmailMessage) -> InboundMedia:
    return InboundMedia(
        content=_bytes(part),
        content_type=media_type(_told(part.get_content_type)),
        filename=plain_name(_told(part.get_filename)),
        content_id=header(part, "Content-ID").strip("<> ")[:255],
    )


def _bytes(part: EmailMessage) -> bytes:
    if part.is_multipart():
        return _attached_mail(part)
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _attached_mail(part: Any) -> bytes:
    """What message/rfc822 and its like hold, written back; b"" for what can't be written again."""
    try:
        return b"\n".join(child.as_bytes() for child in part.get_payload())
    except (UnicodeError, LookupError):
        return b""


def media_type(told: str) -> str:
    """The media type in lower case, without parameters; application/octet-stream for what is none."""
    kind = told.partition(";")[0].strip().lower()
    return kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream"


def plain_name(told: str) -> str:
    """A file's name without folders and control characters, at most 255 characters."""
    name = re.split(r"[/\\]", str(storable(told)))[-1]
    return re.sub(r"[\x00-\x1f\x7f]", "", name).strip()[:255]
