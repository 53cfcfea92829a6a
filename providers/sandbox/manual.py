"""What the sandbox says of itself: to a browser as a page, to a program as text."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

from providers.sandbox.faults import FAULTS
from providers.sandbox.magic import ROWS

PAGE = Path(__file__).resolve().parents[2] / "templates" / "sandbox" / "help.html"
PATHS = """\
GET    /           a browser gets everybody's phone and mailbox, a program this text
GET    /help       this
GET    /ledger     {"phone": where people see the same,
                   "requests": [{"message_id", "attempt", "provider", "provider_message_id", "from", "to", "at"}]},
                   oldest first; ?message_id= picks one message
GET    /faults     {"faults": [{"provider", "fault"}]}: what the next send requests will meet
POST   /faults     {"provider": "twilio" or "sendgrid", "fault", "count": 1} orders some
DELETE /faults     takes back those that were not met yet
POST   /settings   {"latency_ms", "callback_delay_ms"}: either or both, how long an answer and a callback take;
                   {"drop_percent", "duplicate_percent", "reorder_percent"}: of a hundred callbacks so many never
                   come, come twice, come after the next one of the same message; {"inbound_retries"}: how often
                   (0 to 5) Twilio repeats an inbound message that was not taken, as #rc=N&rp=all on the number's
                   URL would have it; {"activity_lag_ms"}: how long until SendGrid's Email Activity shows a mail;
                   {"activity_per_minute"}, 6 at first: how many requests that takes. The others but the times are
                   0 at first; answers the times and what is not as at first
DELETE /settings   turns them back to where they were at the start
GET    /controls   {"faults": [{"fault", "what"}], "waiting": [{"provider", "fault", "count"}], "dials": [{"name",
                   "value", "first", "largest", "what"}]}: all there is to order and to turn, and how it stands
POST   /inbound    somebody writes to us: {"type": "sms", "mms" or "email", "from", "to", "body", "count": 1,
                   "wait": false}; for sms and mms "opt_out_type" (STOP, START, HELP); for email "subject", "html",
                   "in_reply_to", "references", "auto_submitted" and "raw": true for raw MIME; for mms (by default a
                   picture) and email "attachments": [{"filename", "content_type", "content_base64", "content_id"}].
                   Answers {"messages": [{"id"}]} at once, or with "wait" when all were posted to PUBLIC_URL, each
                   with "callbacks": the HTTP status of each delivery, null for no answer, none when dropped
GET    /inbound    {"messages": [{"type", "id", "from", "to", "at", "told"}]}, oldest first; SMS and MMS are in
                   Twilio's own list, too

What is posted is JSON and must be called application/json:

curl {url}/faults -H 'Content-Type: application/json' -d '{"provider":"twilio","fault":"500","count":3}'
"""
MAGIC = [(row.field, row.address, f"{row.end} {row.code}", row.what) for row in ROWS]


def as_page(url: str) -> str:
    """The page, for a sandbox that answers at this base URL."""
    tables = {"magic": _rows(MAGIC), "faults": _rows(FAULTS.items())}
    return Template(PAGE.read_text()).substitute(tables, paths=escape(PATHS.replace("{url}", url)))


def as_text(url: str) -> str:
    """The same as plain text."""
    lines = [
        "Twilio and SendGrid on loopback; nothing here reaches a real phone or mailbox.",
        "",
        "Numbers and addresses that decide what becomes of a message:",
        "",
        *(f"{field:5} {address:22} {end:20} {what}" for field, address, end, what in MAGIC),
        "",
        "Faults that the next messages meet:",
        "",
        *(f"{name:15} {what}" for name, what in FAULTS.items()),
        "",
        "Paths, beside the providers' own:",
        "",
        *PATHS.replace("{url}", url).splitlines(),
        "",
    ]
    return "\n".join(lines)


def _rows(rows: Iterable[Sequence[str]]) -> str:
    """The rows of a table; the last cell of each is words, the others are names."""
    return "\n".join(
        "<tr>" + "".join(f"<td><code>{escape(name)}</code></td>" for name in names) + f"<td>{escape(words)}</td></tr>"
        for *names, words in rows
    )
