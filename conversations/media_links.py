"""Links to the files that we sent along: who has one gets that file for a while, without a key, and nothing else.

Twilio fetches the pictures of an MMS by them, and the readers of a mail what it links to. A link is made anew for each
attempt. It names the file and the message that it was sent with, and is signed: nobody can make one up, and no client
can have a file published by naming it in a message of its own.
"""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner

from conversations.models.media import MEDIA_PATH


def _signer() -> TimestampSigner:
    return TimestampSigner(salt="conversations.media_links")


def public(attachment: str, message_id: UUID) -> str:
    """Return what a provider is told of an attachment: a link to a file that we keep, any other URL as it is."""
    if not attachment.startswith(MEDIA_PATH):
        return attachment
    media_id = UUID(attachment.removeprefix(MEDIA_PATH))
    return f"{settings.PUBLIC_URL}/media/{_signer().sign(f'{message_id.hex}{media_id.hex}')}"


def named_by(token: str) -> tuple[UUID, UUID] | None:
    """Return the ids of the message and of the file that a link's last part names; None for one that holds no more."""
    try:
        named = _signer().unsign(token, max_age=timedelta(days=settings.MEDIA_LINK_DAYS))
    except BadSignature:
        return None
    return UUID(named[:32]), UUID(named[32:])
