"""What mails of the demo world have beside their text: HTML, the mail they answer, and files. Pure functions."""

from datetime import datetime
from html import escape
from pathlib import PurePath

from messaging_project.demo_world.pictures import picture
from providers.base import InboundMedia

WROTE = {"en": "On {at:%a, %b %d, %Y at %H:%M} {who} wrote:", "de": "Am {at:%d.%m.%Y} um {at:%H:%M} schrieb {who}:"}
# A picture from elsewhere, as senders of newsletters have it to see who reads.
OURS = """<html><body style="font-family: Georgia, serif; color: #222">
<table role="presentation" width="100%"><tr><td style="background: #2f5d62; color: #fff; padding: 12px 20px">
<strong>{name}</strong></td></tr><tr><td style="padding: 20px">{paragraphs}</td></tr></table>
<img src="https://example.com/seen.gif" width="1" height="1" alt=""></body></html>"""
FILES = {
    "address.txt": "Lowell & Marsh Ltd\n58 Hill Rise\nAccounts, second floor\n",
    "guests.csv": "name,eats\nRosa,everything\nPaul,no nuts\nInes,vegetarian\nFinn,no fish\nMaya,vegetarian\n",
}
TYPES = {".png": "image/png", ".txt": "text/plain", ".csv": "text/csv"}


def paragraphs(text: str) -> str:
    """Return a text as HTML paragraphs."""
    return "".join(f"<p>{'<br>'.join(escape(part).splitlines())}</p>" for part in text.split("\n\n"))


def our_html(text: str, name: str) -> str:
    """Return a mail of ours as HTML, with the name of who writes above it."""
    return OURS.format(name=escape(name), paragraphs=paragraphs(text))


def with_quote(text: str, quoted: str, introduction: str) -> str:
    """Return a text with the mail that it answers below it, as mail programs do."""
    return f"{text}\n\n{introduction}\n" + "\n".join(f"> {line}".rstrip() for line in quoted.splitlines())


def html_with_quote(text: str, quoted: str, introduction: str) -> str:
    """Return the same as HTML."""
    below = f'<div>{escape(introduction)}</div><blockquote type="cite">{paragraphs(quoted)}</blockquote>'
    return f"<div>{paragraphs(text)}</div>{below if quoted else ''}"


def introduction(language: str, at: datetime, who: str) -> str:
    """Return the line above a quoted mail."""
    return WROTE.get(language, WROTE["en"]).format(at=at, who=who)


def attached(file: str) -> InboundMedia:
    """Return the file of a story: a motif, or a name with an ending."""
    name = PurePath(file if "." in file else f"{file}.png")
    content = picture(name.stem) if name.suffix == ".png" else FILES[file].encode()
    return InboundMedia(content=content, content_type=TYPES[name.suffix], filename=name.name)
