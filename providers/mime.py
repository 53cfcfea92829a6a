"""A mail as RFC 5322 and MIME (RFC 2045 to 2047, RFC 2231) write it, cut into its parts where they lie.

Everything in it was written by strangers. The email package of the standard library is not used: its parsers of
headers take quadratic time, and its parser of bodies keeps every line as an object, 1.3 GB for 30 MB of short ones.
Everything here takes time and memory in proportion to the mail, and nothing is refused: what a mail has too much of
stays unread.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from urllib.parse import unquote_to_bytes

from providers.base import InboundMedia
from providers.wire import as_text, one_line, storable

# Of a mail and of each of its parts.
HEADERS_BYTES = 256 * 1024
# Of one header. A file's name of 255 characters takes 2,300 as RFC 2231 writes it.
PARAMETERS_CHARACTERS = 4 * 1024
# Mail programs reach four or five. Each level of a mail is searched once more.
DEEPEST_PART = 10
# Of one mail, however they are nested.
MOST_PARTS = 500
# Files of one mail. Each becomes a file in the storage and a row.
MOST_MEDIA = 50

Headers = Mapping[str, str]

_HEADER_LINE = re.compile(rb"[!-9;-~]{1,200}[ \t]*:")
_END_OF_HEADERS = re.compile(rb"\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_FOLD = re.compile(r"\r?\n(?=[ \t])")
# One word, and the blanks between two, which RFC 2047 §6.2 leaves out.
_ENCODED_WORD = re.compile(r"=\?([^?\s*]{1,40})(?:\*[^?\s]{0,40})?\?([bBqQ])\?([^?\r\n]{0,1000})\?=")
_BETWEEN_WORDS = re.compile(r"(?<=\?=)\s+(?==\?)")
# ;name*number*=value, where number and the second * are RFC 2231's.
_PARAMETER = re.compile(r';\s*([^\s=;*"]{1,60})(?:\*(\d{1,2}))?(\*)?\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))', re.DOTALL)
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,100}")
# They make invoice-exe.pdf of invoice-fdp.exe on a screen.
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


@dataclass(frozen=True, slots=True)
class Content:
    """What a mail holds: its text, its HTML, and everything else as files, of which `media_left_out` were too many."""

    text: str
    html: str
    media: tuple[InboundMedia, ...]
    media_left_out: int


@dataclass(frozen=True, slots=True)
class _Part:
    """A part without parts, still encoded; a mail attached to the mail is one."""

    headers: Headers
    encoded: bytes

    @property
    def kind(self) -> str:
        return _kind(self.headers)

    @property
    def filename(self) -> str:
        told = parameter(self.headers.get("content-disposition", ""), "filename")
        return plain_name(told or parameter(self.headers.get("content-type", ""), "name"))

    @property
    def is_file(self) -> bool:
        disposition = self.headers.get("content-disposition", "").partition(";")[0].strip().lower()
        # A multipart without parts is text with a wrong label.
        is_text = self.kind in {"text/plain", "text/html"} or self.kind.startswith("multipart/")
        return disposition == "attachment" or not is_text or bool(self.filename)

    def content(self) -> bytes:
        return _decoded(self.encoded, self.headers.get("content-transfer-encoding", "").strip().lower())

    def text(self) -> str:
        return as_text(self.content(), parameter(self.headers.get("content-type", ""), "charset") or "utf-8")

    def media(self) -> InboundMedia:
        content_id = header(self.headers, "Content-ID").strip("<> ")[:255]
        return InboundMedia(
            content=self.content(), content_type=self.kind, filename=self.filename, content_id=content_id
        )


def content_of(mail: bytes) -> Content:
    """Text, HTML and files of a mail. Several texts (as around a picture) follow each other.

    At most `MOST_PARTS` parts are read, at most `DEEPEST_PART` levels deep, and at most `MOST_MEDIA` of them become
    files. `media_left_out` counts the files among the parts that were read.
    """
    texts: list[str] = []
    pages: list[str] = []
    media: list[InboundMedia] = []
    left_out = 0
    mail = mail.lstrip(b"\r\n")
    for part in islice(_leaves(mail, 0, len(mail)), MOST_PARTS):
        if not part.is_file:
            (pages if part.kind == "text/html" else texts).append(part.text())
        elif len(media) < MOST_MEDIA:
            media.append(part.media())
        else:
            left_out += 1
    return Content("\n".join(texts), "\n".join(pages), tuple(media), left_out)


def _leaves(mail: bytes, start: int, end: int, depth: int = 0) -> Iterator[_Part]:
    """The parts without parts between two places of the mail, each found when it is asked for."""
    headers, body = _headers_and_body(mail, start, end)
    pieces = _pieces(mail, headers, body, end) if depth < DEEPEST_PART else iter(())
    first = next(pieces, None)
    if first is None:
        yield _Part(headers, mail[body:end])
        return
    for piece in chain([first], pieces):
        yield from _leaves(mail, *piece, depth + 1)


def _headers_and_body(mail: bytes, start: int, end: int) -> tuple[Headers, int]:
    """The headers, and where the body begins: after an empty line, or where no headers are."""
    if blank := _LINE_END.match(mail, start, end):
        return {}, blank.end()
    if not _HEADER_LINE.match(mail, start, end):
        return {}, start
    found = _END_OF_HEADERS.search(mail, start, end)
    return read_headers(mail[start : found.start() if found else end]), found.end() if found else end


def _pieces(mail: bytes, headers: Headers, body: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the parts of a multipart lie, of which there are none in anything else."""
    boundary = boundary_of(headers.get("content-type", ""))
    if not boundary or not _kind(headers).startswith("multipart/"):
        return
    before = None
    # From one back: the line end before the first delimiter may be that of the headers.
    for line in delimiters(mail, boundary, body - 1, end):
        if before:
            yield piece_between(mail, before.end(), line.start())
        if line[1]:
            return
        before = line
    if before:
        yield piece_between(mail, before.end(), end)


def delimiters(raw: bytes, boundary: bytes, start: int, end: int) -> Iterator[re.Match[bytes]]:
    """The lines that separate parts (RFC 2046 §5.1.1), each with the line end before it; group 1 is "--" in the last.

    A line that only begins like the boundary is none.
    """
    line = re.compile(rb"\n--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    return line.finditer(raw, start, end)


def piece_between(raw: bytes, delimiter_end: int, next_start: int) -> tuple[int, int]:
    """Where the part between two delimiters begins and ends, without the line ends that belong to them."""
    newline = _LINE_END.match(raw, delimiter_end)
    start = newline.end() if newline else delimiter_end
    end = next_start - 1 if raw[next_start - 1 : next_start] == b"\r" else next_start
    return start, max(start, end)


def read_headers(raw: bytes) -> Headers:
    """The first header of each name, the name in lower case, unfolded and not decoded, read as UTF-8 (RFC 6532).

    Only what stands before the first empty line and in the first `HEADERS_BYTES`.
    """
    head = _END_OF_HEADERS.split(raw[:HEADERS_BYTES].lstrip(b"\r\n"), maxsplit=1)[0]
    headers: dict[str, str] = {}
    for line in _FOLD.sub("", as_text(head)).split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    return headers


def header(headers: Headers, name: str) -> str:
    """The header's text in one line, encoded words decoded where they can be; "" when it is missing."""
    return one_line(decoded_words(headers.get(name.lower(), "")))


def decoded_words(text: str) -> str:
    """The text with its encoded words (RFC 2047) decoded; what is none stays.

    Characters may be split between two words of the same charset, although the RFC forbids it: many programs do so.
    """
    text = _BETWEEN_WORDS.sub("", text)
    pieces: list[tuple[str, bytes]] = []
    at = 0
    for word in _ENCODED_WORD.finditer(text):
        charset, encoding, content = word[1].lower(), word[2].lower(), word[3].encode()
        pieces.append(("utf-8", text[at : word.start()].encode()))
        pieces.append((charset, _from_base64(content) if encoding == "b" else binascii.a2b_qp(content, header=True)))
        at = word.end()
    return _joined([*pieces, ("utf-8", text[at:].encode())])


def _joined(pieces: list[tuple[str, bytes]]) -> str:
    runs: list[tuple[str, list[bytes]]] = []
    for charset, content in pieces:
        if runs and runs[-1][0] == charset:
            runs[-1][1].append(content)
        elif content:
            runs.append((charset, [content]))
    return "".join(as_text(b"".join(contents), charset) for charset, contents in runs)


def parameter(value: str, name: str) -> str:
    """A parameter of a header, "" when it is missing: as RFC 2231 writes it, else as everybody else does."""
    pieces: dict[int, tuple[bool, str]] = {}
    for told, number, extended, text in _parameters(value):
        if told == name and (number or extended):
            pieces.setdefault(int(number or 0), (extended, text))
    return _put_together(pieces) if pieces else decoded_words(plain_parameter(value, name))


def plain_parameter(value: str, name: str) -> str:
    """The first parameter of this name that is written without RFC 2231, as it stands."""
    found = (text for told, number, extended, text in _parameters(value) if told == name and not (number or extended))
    return next(found, "")


def _parameters(value: str) -> Iterator[tuple[str, str, bool, str]]:
    """Name in lower case, number of the piece ("" for none), whether the text is extended, and the text."""
    for found in _PARAMETER.finditer(value[:PARAMETERS_CHARACTERS]):
        name, number, extended, quoted, bare = found.groups()
        # Windows paths are written with single backslashes, so one stands for itself before anything else.
        text = bare.strip(' \t\r\n"') if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted)
        yield name.lower(), number or "", extended is not None, text


def _put_together(pieces: Mapping[int, tuple[bool, str]]) -> str:
    """The value in RFC 2231's pieces, of which the first may name the charset: charset'language'text."""
    ordered = [pieces[number] for number in sorted(pieces)]
    charset = "utf-8"
    if ordered[0][0] and ordered[0][1].count("'") >= 2:
        charset, _, rest = ordered[0][1].split("'", maxsplit=2)
        ordered[0] = (True, rest)
    content = b"".join(unquote_to_bytes(text) if extended else text.encode() for extended, text in ordered)
    return as_text(content, charset or "utf-8")


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names, b"" for none."""
    return parameter(storable(content_type), "boundary").encode()


def _decoded(content: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return _from_base64(content)
    return binascii.a2b_qp(content) if encoding == "quoted-printable" else content


def _from_base64(content: bytes) -> bytes:
    """What can be decoded: a last character that is not enough for a byte is left out, and so is foreign matter."""
    known = content.partition(b"=")[0].translate(None, _NOT_BASE64)
    whole = known[:-1] if len(known) % 4 == 1 else known
    return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))


def _kind(headers: Headers) -> str:
    """The part's media type: text/plain where nothing or nonsense is said (RFC 2045 §5.2)."""
    told = headers.get("content-type", "").partition("(")[0]
    return media_type(told) if "/" in told else "text/plain"


def media_type(told: str) -> str:
    """The media type in lower case, without parameters; application/octet-stream for what is none."""
    kind = told.partition(";")[0].strip().lower()
    return kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream"


def plain_name(told: str) -> str:
    """A file's name in one line, without folders and marks that turn the writing round; at most 255 characters.

    "" for none, and for the names of folders (. and ..). A long name is cut before its extension.
    """
    name = one_line(_DIRECTIONS.sub("", re.split(r"[/\\]", told)[-1]))
    stem, dot, extension = name.rpartition(".")
    if len(name) > 255:
        name = stem[: 254 - len(extension)] + dot + extension if len(extension) < 20 else name[:255]
    return "" if name in {".", ".."} else name
