"""A body of multipart/form-data (RFC 7578), cut into its fields: what Inbound Parse posts.

Only the heads of fields are read here, each up to `HEAD_BYTES`; a body of 35 MB is searched once for its boundary.
Stray parts are passed over, since a refused mail is lost for good.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from providers.errors import UnreadableCallback
from providers.mime import boundary_of, delimiters, parameter, piece_between, plain_parameter, read_headers

# Room for a file's name of 255 characters in RFC 2231's writing. A head longer than this is no field's.
HEAD_BYTES = 4 * 1024
# At each end of the form. SendGrid's own fields stand at its beginning or, behind a text that forges some, at its end.
MOST_FIELDS = 500

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form. `filename` and `content_type` are "" where none was given."""

    name: str
    content: bytes
    filename: str
    content_type: str


def read_form(content_type: str, body: bytes) -> Sequence[Field]:
    """The fields in their order. Raises `UnreadableCallback` when the content type names no boundary.

    Of a form with more than twice `MOST_FIELDS` the boundaries in the middle are not heeded.
    """
    boundary = boundary_of(content_type)
    if not boundary:
        raise UnreadableCallback("The form names no boundary.")
    body = b"\n" + body  # so that each delimiter follows a line end: found twenty times faster
    found = delimiters(body, boundary, 0, len(body))
    lines = [*islice(found, MOST_FIELDS), *deque(found, maxlen=MOST_FIELDS)]
    places = [(line.start(), line.end()) for line in lines] + [(len(body), len(body))]
    return [
        field for here, there in pairwise(places) for field in _fields(body, *piece_between(body, here[1], there[0]))
    ]


def _fields(body: bytes, start: int, end: int) -> Iterator[Field]:
    """The field between two boundaries; none when its head names none."""
    found = _END_OF_HEAD.search(body, start, min(end, start + HEAD_BYTES))
    if not found:
        return
    headers = read_headers(body[start : found.start()])
    disposition = headers.get("content-disposition", "")
    # Names are plain (RFC 7578 §4.2), and a second one would be what a stranger wrote into the name of a file.
    if name := plain_parameter(disposition, "name"):
        yield Field(
            name=name,
            content=body[found.end() : end],
            filename=parameter(disposition, "filename"),
            content_type=headers.get("content-type", "").partition(";")[0].strip().lower(),
        )
