"""What a mail of ours holds, whoever carries it: its text and HTML, and the headers that make a thread.

Attachments are linked, not fetched: their URLs are appended to the text, under "Attachments:", one a line, and to the
HTML as a list of links. So no stranger's URL is opened here, and a mail stays small.
"""

import re
from collections.abc import Sequence
from html import escape

from providers.base import OutboundMessage

# SendGrid refuses a mail without a subject, and ours is optional.
NO_SUBJECT = "(no subject)"
# A line of a header may have 998 characters (RFC 5322 §2.1.1), and nobody folds ours.
REFERENCES_BYTES = 900
# Ids of mail that came in were written by strangers; what is none would have the whole mail refused.
MESSAGE_ID = re.compile(r"<[\x21-\x3b\x3d\x3f-\x7e]+>")


def contents(message: OutboundMessage) -> Sequence[tuple[str, str]]:
    """Return text and HTML with their MIME types, plain text first; "" is what the message has not."""
    text, html = message.body, message.html
    if message.attachments:
        # HTML alone stays alone: a text of nothing but links would hide it from readers that prefer text.
        if text or not html:
            text = "\n\n".join(filter(None, [text, "\n".join(["Attachments:", *message.attachments])]))
        if html:
            html += _links(message.attachments)
    return [("text/plain", text), ("text/html", html)]


def headers(message: OutboundMessage) -> dict[str, str]:
    """What makes a thread (RFC 5322 §3.6.4) and lets the recipient leave with one click (RFC 8058)."""
    found = {"Message-ID": message.message_id_header} if message.message_id_header else {}
    if references := _references(message.references):
        found |= {"In-Reply-To": references[-1], "References": " ".join(references)}
    if message.unsubscribe_url:
        found["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
        found["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return found


def _links(urls: Sequence[str]) -> str:
    items = "".join(f'<li><a href="{escape(url)}">{escape(url)}</a></li>' for url in urls)
    return f"<p>Attachments:</p><ul>{items}</ul>"


def _references(told: Sequence[str]) -> list[str]:
    """As many as fit: the first, which begins the thread, and the newest."""
    ids = [each for each in told if len(each) <= REFERENCES_BYTES and MESSAGE_ID.fullmatch(each)]
    while len(" ".join(ids)) > REFERENCES_BYTES:
        del ids[1 if len(ids) > 2 else 0]
    return ids
