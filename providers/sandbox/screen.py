"""What a phone and a mailbox show of the ledgers' entries: JSON objects. Pure functions."""

from email.utils import parseaddr
from typing import Any

from providers.sandbox.callbacks import twilio_stages
from providers.sandbox.ledger import Entry
from providers.sandbox.media import BYTES_PATH
from providers.sandbox.people import Person
from providers.sandbox.sendgrid import latest_event

CHARACTERS_OF_PREVIEW = 120
LINES_OF_A_PHONE = 20


def person_row(person: Person) -> dict[str, Any]:
    """`{"kind", "address", "with", "last": {"id", "at", "direction", "text"}}`; `with` has at most 20 numbers of ours,
    the one used last at first, and is [""] for a mailbox.
    """
    last = person.latest
    return {
        "kind": person.kind,
        "address": person.address,
        "with": [*reversed(person.threads)][:LINES_OF_A_PHONE],
        "last": {
            "id": last.provider_message_id,
            "at": last.row()["at"],
            "direction": last.direction,
            "text": preview(last),
        },
    }


def text_row(entry: Entry) -> dict[str, Any]:
    """One SMS or MMS: `{"id", "direction", "at", "from", "to", "body", "status", "error_code", "media"}`.

    Each of `media` is `{"url", "content_type"}`: what we sent lies on other hosts, its type is "".
    """
    status, error_code = text_status(entry)
    return {
        **_row(entry),
        "body": entry.details["body"],
        "status": status,
        "error_code": error_code,
        "media": _media(entry),
    }


def mail_row(entry: Entry, address: str) -> dict[str, Any]:
    """One line in the mailbox of that address: `{"id", "direction", "at", "from", "to", "subject", "preview", "status",
    "reason"}`.
    """
    status, reason = mail_status(entry, address)
    row = {**_row(entry), "subject": entry.details["subject"], "preview": preview(entry)}
    return row | {"status": status, "reason": reason}


def opened_mail(entry: Entry, address: str) -> dict[str, Any]:
    """The whole mail, but for its HTML: what `mail_row` has, and `{"text", "has_html", "answer_to", "message_id",
    "references", "attachments"}`. `answer_to` is where an answer goes: Reply-To, else the sender.
    """
    details, headers = entry.details, entry.details.get("headers", {})
    outbound = entry.direction == "outbound"
    named = entry.provider_message_id if not outbound else f"<{entry.provider_message_id}@sandbox.invalid>"
    return {
        **mail_row(entry, address),
        "text": text_of(entry),
        "has_html": bool(details.get("html")),
        "answer_to": details.get("reply_to") or parseaddr(entry.sender)[1] if outbound else entry.recipient,
        "message_id": headers.get("Message-ID", named),
        "references": [*dict.fromkeys(f"{headers.get('References', '')} {headers.get('In-Reply-To', '')}".split())],
        "attachments": [each["filename"] or each["content_type"] for each in details.get("attachments", ())],
    }


def preview(entry: Entry) -> str:
    """The first words of a text, of a mail without HTML, or what else there is to say."""
    details = entry.details
    if entry.provider == "twilio":
        return str(details["body"])[:CHARACTERS_OF_PREVIEW] or "Picture"
    return " ".join(text_of(entry)[: CHARACTERS_OF_PREVIEW * 4].split())[:CHARACTERS_OF_PREVIEW]


def text_of(entry: Entry) -> str:
    """The plain text of a mail, "" when it has none."""
    return str(entry.details.get("text" if entry.direction == "outbound" else "body", ""))


def text_status(entry: Entry) -> tuple[str, int | None]:
    """Twilio's word for what we sent, with its error code; for what was written to us, `arrival`."""
    if entry.direction == "inbound":
        return arrival(entry), None
    return (("queued", None), *twilio_stages(entry))[entry.stage]


def mail_status(entry: Entry, address: str) -> tuple[str, str]:
    """SendGrid's word for what became of a mail to this address, and its reason; `arrival` for a mail to us."""
    if entry.direction == "inbound":
        return arrival(entry), ""
    email = next((to["email"] for to in entry.details["to"] if to["email"].lower() == address), entry.recipient)
    event = latest_event(entry, email)
    return event["event"], event.get("reason", "")


def arrival(entry: Entry) -> str:
    """What became of a message to us: `sending`, `taken`, `lost` on its way, or `refused` by our door."""
    if not entry.told:
        return "sending"
    if entry.answers == []:
        return "lost"
    return "taken" if all(status and status < 300 for status in entry.answers or ()) else "refused"


def _row(entry: Entry) -> dict[str, Any]:
    row = entry.row()
    return {"id": entry.provider_message_id, "direction": entry.direction, **{n: row[n] for n in ("at", "from", "to")}}


def _media(entry: Entry) -> list[dict[str, str]]:
    if entry.direction == "outbound":
        return [{"url": url, "content_type": ""} for url in entry.details.get("media_urls", ())]
    return [
        {
            "url": BYTES_PATH.format(sid=entry.provider_message_id, key=medium["key"]),
            "content_type": medium["content_type"],
        }
        for medium in entry.details["media"]
    ]
