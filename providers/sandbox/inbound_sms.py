"""SMS and MMS that people write to us, as Twilio posts them.

Source: https://www.twilio.com/docs/messaging/guides/webhook-request
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from providers.sandbox.callbacks import TWILIO_PATH, sign_like_twilio
from providers.sandbox.ledger import Entry, now
from providers.sandbox.media import PICTURE, media_path, new_medium
from providers.sandbox.settings import SandboxSettings
from providers.sandbox.twilio import segments


def new_text(wish: Mapping[str, Any], origin: str) -> Entry:
    """What the ledger keeps of an SMS or MMS; an MMS without attachments gets a picture.

    `origin` is the sandbox's own base URL, where its media are.
    """
    attachments = wish.get("attachments") or [PICTURE] if wish["type"] == "mms" else []
    body = wish.get("body", "")
    return Entry(
        message_id=None,
        attempt=None,
        provider="twilio",
        provider_message_id=f"{'MM' if attachments else 'SM'}{uuid4().hex}",
        sender=wish["from"],
        recipient=wish["to"],
        at=now(),
        stage=1,
        direction="inbound",
        details={
            "type": wish["type"],
            "body": body,
            "messaging_service_sid": "",
            "num_media": len(attachments),
            "num_segments": segments(body),
            "opt_out_type": wish.get("opt_out_type", ""),
            "origin": origin,
            "media": [new_medium(each) for each in attachments],
        },
    )


def text_request(entry: Entry, settings: SandboxSettings) -> tuple[str, bytes, dict[str, str]]:
    """The URL, body and headers of the webhook, signed."""
    url = settings.door(TWILIO_PATH)
    form = text_form(entry, settings.account_sid)
    return url, urlencode(form).encode(), sign_like_twilio(settings.auth_token, url, form)


def text_form(entry: Entry, account_sid: str) -> dict[str, str]:
    """The parameters of an incoming message. Twilio leaves empty what it does not know of a place."""
    sid = entry.provider_message_id
    media = entry.details["media"]
    form = {f"MediaContentType{number}": medium["content_type"] for number, medium in enumerate(media)}
    form |= {
        "ToCountry": _country(entry.recipient),
        "ToState": "",
        "SmsMessageSid": sid,
        "NumMedia": str(len(media)),
        "ToCity": "",
        "FromZip": "",
        "SmsSid": sid,
        "FromState": "",
        "SmsStatus": "received",
        "FromCity": "",
        "Body": entry.details["body"],
        "FromCountry": _country(entry.sender),
        "To": entry.recipient,
        "ToZip": "",
        "NumSegments": str(entry.details["num_segments"]),
        "MessageSid": sid,
        "AccountSid": account_sid,
        "From": entry.sender,
        "ApiVersion": "2010-04-01",
    }
    if word := entry.details["opt_out_type"]:
        form["OptOutType"] = word
    origin = entry.details["origin"]
    return form | {
        f"MediaUrl{number}": f"{origin}{media_path(account_sid, sid, medium['sid'])}"
        for number, medium in enumerate(media)
    }


def _country(number: str) -> str:
    return "US" if number.startswith("+1") else ""
