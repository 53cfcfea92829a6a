"""A body of multipart/form-data (RFC 7578), read into its fields: what Inbound Parse posts.

The body is cut at its boundary here and only the heads of the parts are left to the email package: as a whole it would
take an attached mail for more parts of the form, and 35 MB line by line. Stray parts are passed over, since a refused
mail is lost for good.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from email.utils import collapse_rfc2231_value

from providers.errors import UnreadableCallback
from providers.wire import as_text

# A head longer than this is no field's; parameters of a header take quadratic time.
HEAD_BYTES = 8 * 1024
# More than any mail has attachments. Of a longer form the end counts, where SendGrid's own fields are.
MOST_FIELDS = 2000
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form. `filename` is "" for a plain value, `content_type` "" where none was given."""

    content: bytes
    filename: str
    content_type: str


def read_form(content_type: str, body: bytes) -> Mapping[str, Field]:
    """Name → field. Raises `UnreadableCallback` when the content type names no boundary.

    Of fields with the same name the last one counts: SendGrid's boundary is always the same word, so a mail can write
    fields of its own into the middle of the form, and SendGrid's own envelope comes after the text.
    """
    boundary = boundary_of(content_type)
    if not boundary:
        raise UnreadableCallback("The form names no boundary.")
    delimiter = rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(?:--)?[ \t]*(?:(?=\r?\n)|\Z)"
    pieces = re.split(delimiter, body)[1:][-MOST_FIELDS:]
    return {name: field for piece in pieces for name, field in _fields(piece)}


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names, b"" for none."""
    try:
        return collapse_rfc2231_value(_head(f"Content-Type: {content_type}").get_param("boundary", "")).encode()
    except ValueError:
        return b""


def _fields(piece: bytes) -> list[tuple[str, Field]]:
    """The field in what lies between two boundaries; none when its head names none."""
    head, *content = _END_OF_HEAD.split(piece, maxsplit=1)
    if not content or len(head) > HEAD_BYTES:
        return []
    read = _head(as_text(head).lstrip("\r\n"))
    try:
        name, filename = (_parameter(read, each) for each in ("name", "filename"))
    except ValueError:
        return []
    kind = str(read.get("content-type", "")).partition(";")[0].strip().lower()
    return [(name, Field(content[0], filename, kind))] if name else []


def _head(text: str) -> "Message[str, str]":
    return HeaderParser().parsestr(text)


def _parameter(head: "Message[str, str]", name: str) -> str:
    return collapse_rfc2231_value(head.get_param(name, "", header="content-disposition"))
