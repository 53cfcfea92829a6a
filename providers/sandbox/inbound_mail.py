"""Mail that people write to us, as SendGrid's Inbound Parse posts it, parsed or raw.

Source: https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook
"""

import base64
import json
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec

from providers.sandbox.callbacks import SENDGRID_PATH, sign_like_sendgrid
from providers.sandbox.ledger import Entry, now
from providers.sandbox.settings import SandboxSettings

# Always the same word at SendGrid, whatever the mail has in it.
BOUNDARY = b"xYzZY"
# RFC 5322 allows lines of 998 characters; folded earlier, long message ids would come out encoded.
POLICY = SMTP.clone(max_line_length=998)
# An address for documentation (RFC 5737).
SENDER_IP = "192.0.2.1"

Fields = dict[str, bytes]


def new_mail(wish: Mapping[str, Any]) -> Entry:
    """What the ledger keeps of a mail: all that it takes to post the same mail again."""
    mail_id = uuid4().hex
    return Entry(
        message_id=None,
        attempt=None,
        provider="sendgrid",
        provider_message_id=f"<{mail_id}@sandbox.invalid>",
        sender=wish["from"],
        recipient=wish["to"],
        at=now(),
        stage=1,
        direction="inbound",
        details={
            "type": "email",
            "subject": wish.get("subject", ""),
            "body": wish.get("body", ""),
            "html": wish.get("html", ""),
            "raw": wish.get("raw", False),
            "headers": {
                "In-Reply-To": wish.get("in_reply_to", ""),
                "References": " ".join(wish.get("references", ())),
                "Auto-Submitted": wish.get("auto_submitted", ""),
            },
            "attachments": wish.get("attachments", []),
        },
    )


def mail_request(
    entry: Entry, settings: SandboxSettings, key: ec.EllipticCurvePrivateKey | None
) -> tuple[str, bytes, dict[str, str]]:
    """The URL, body and headers of the webhook: signed with the key of the events, or without one as it is."""
    body = mail_body(entry)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    return settings.door(SENDGRID_PATH), body, headers | (sign_like_sendgrid(key, body) if key else {})


def mail_body(entry: Entry) -> bytes:
    """The form with its fields in the order in which SendGrid writes them, then the files."""
    fields = raw_fields(entry) if entry.details["raw"] else parsed_fields(entry)
    parts = [_part(f'name="{name}"', value) for name, value in fields.items()]
    if not entry.details["raw"]:
        parts += [_file(number, each) for number, each in enumerate(entry.details["attachments"], start=1)]
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def raw_fields(entry: Entry) -> Fields:
    """The fields when "POST the raw, full MIME message" is ticked."""
    return {
        "dkim": _dkim(entry),
        "email": mime(entry).as_bytes(),
        "to": entry.recipient.encode(),
        "from": entry.sender.encode(),
        "sender_ip": SENDER_IP.encode(),
        "spam_report": b"Spam detection software has identified nothing suspicious.\n",
        "envelope": _envelope(entry),
        "subject": entry.details["subject"].encode(),
        "spam_score": b"0.1",
        "charsets": _charsets("to", "subject", "from"),
        "SPF": b"pass",
    }


def parsed_fields(entry: Entry) -> Fields:
    """The fields by default. Text, HTML and what describes files are there only where the mail has them."""
    details = entry.details
    texts = {name: details[kept].encode() for name, kept in (("html", "html"), ("text", "body")) if details[kept]}
    described = _described(details["attachments"])
    return {
        "headers": _headers(entry),
        "dkim": _dkim(entry),
        **({"content-ids": described["content-ids"]} if "content-ids" in described else {}),
        "to": entry.recipient.encode(),
        **({"html": texts["html"]} if "html" in texts else {}),
        "from": entry.sender.encode(),
        **({"text": texts["text"]} if "text" in texts else {}),
        "sender_ip": SENDER_IP.encode(),
        "spam_report": b"Spam detection software has identified nothing suspicious.\n",
        "envelope": _envelope(entry),
        "attachments": str(len(details["attachments"])).encode(),
        "subject": details["subject"].encode(),
        "spam_score": b"0.1",
        **({"attachment-info": described["attachment-info"]} if "attachment-info" in described else {}),
        "charsets": _charsets("to", "subject", "from", *texts),
        "SPF": b"pass",
    }


def mime(entry: Entry) -> EmailMessage:
    """The mail as its author's program wrote it, and our mail server's line on top."""
    details, mail = entry.details, EmailMessage(policy=POLICY)
    domain = parseaddr(entry.sender)[1].rpartition("@")[2]
    mail["Received"] = f"from {domain} ([{SENDER_IP}]) by sandbox.invalid with ESMTP; {format_datetime(entry.at)}"
    mail["Date"] = format_datetime(entry.at)
    mail["From"] = entry.sender
    mail["To"] = entry.recipient
    mail["Message-ID"] = entry.provider_message_id
    mail["Subject"] = details["subject"]
    for name, value in details["headers"].items():
        if value:
            mail[name] = value
    mail.set_content(details["body"])
    if details["html"]:
        mail.add_alternative(details["html"], subtype="html")
    for each in details["attachments"]:
        _attach(mail, each)
    return mail


def _attach(mail: EmailMessage, attachment: Mapping[str, str]) -> None:
    maintype, _, subtype = attachment["content_type"].partition("/")
    content_id = attachment["content_id"]
    mail.add_attachment(
        base64.b64decode(attachment["content_base64"]),
        maintype=maintype,
        subtype=subtype,
        filename=attachment["filename"] or None,
        disposition="inline" if content_id else "attachment",
        cid=f"<{content_id}>" if content_id else None,
    )


def _headers(entry: Entry) -> bytes:
    return mime(entry).as_bytes().partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n") + b"\n"


def _dkim(entry: Entry) -> bytes:
    return f"{{@{parseaddr(entry.sender)[1].rpartition('@')[2]} : pass}}".encode()


def _envelope(entry: Entry) -> bytes:
    return json.dumps({"to": [parseaddr(entry.recipient)[1]], "from": parseaddr(entry.sender)[1]}).encode()


def _charsets(*names: str) -> bytes:
    return json.dumps(dict.fromkeys(names, "UTF-8")).encode()


def _described(attachments: list[dict[str, str]]) -> Fields:
    """`attachment-info` and `content-ids`, each only where there is something to say."""
    info, ids = {}, {}
    for number, each in enumerate(attachments, start=1):
        name = f"attachment{number}"
        info[name] = {"filename": each["filename"], "name": each["filename"], "type": each["content_type"]}
        if each["content_id"]:
            info[name]["content-id"] = each["content_id"]
            ids[each["content_id"]] = name
    fields = {"attachment-info": info, "content-ids": ids}
    return {name: json.dumps(value).encode() for name, value in fields.items() if value}


def _file(number: int, attachment: Mapping[str, str]) -> bytes:
    filename = attachment["filename"].replace('"', "%22")
    return _part(
        f'name="attachment{number}"; filename="{filename}"',
        base64.b64decode(attachment["content_base64"]),
        f"Content-Type: {attachment['content_type']}\r\n",
    )


def _part(disposition: str, content: bytes, more: str = "") -> bytes:
    head = f"Content-Disposition: form-data; {disposition}\r\n{more}\r\n".encode()
    return b"--" + BOUNDARY + b"\r\n" + head + content + b"\r\n"
