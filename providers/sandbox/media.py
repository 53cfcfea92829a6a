"""Pictures and files of inbound messages: Twilio's Media resource, and the bytes as another host serves them."""

import base64
import secrets
import struct
import zlib
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

from providers.sandbox.ledger import Entry, Ledger

PICTURE_SIDE = 64
# Whoever wrote to us chose type and bytes: shown by themselves, they may do nothing.
HARMLESS = {"Content-Security-Policy": "sandbox; default-src 'none'"}
# Where the bytes are: no credentials are asked for, as the path can't be guessed.
BYTES_PATH = "/media/{sid}/{key}"


def picture() -> bytes:
    """A real PNG, 64 × 64 pixels: red grows to the right, green downwards."""
    shades = [value * 255 // (PICTURE_SIDE - 1) for value in range(PICTURE_SIDE)]
    # Each row begins with its filter, 0 for none.
    rows = b"".join(b"\0" + b"".join(bytes((red, green, 128)) for red in shades) for green in shades)
    size_and_kind = struct.pack(">IIBBBBB", PICTURE_SIDE, PICTURE_SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", size_and_kind), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


PICTURE = {
    "filename": "picture.png",
    "content_type": "image/png",
    "content_base64": base64.b64encode(picture()).decode(),
    "content_id": "",
}


def new_medium(attachment: Mapping[str, str]) -> dict[str, str]:
    """What a message keeps of an attachment: `{"sid", "key", "content_type", "content_base64"}`."""
    return {
        "sid": f"ME{uuid4().hex}",
        "key": secrets.token_urlsafe(16),
        "content_type": attachment["content_type"],
        "content_base64": attachment["content_base64"],
    }


def media_path(account_sid: str, message_sid: str, sid: str) -> str:
    """Where Twilio's API has one medium, without .json."""
    return f"/2010-04-01/Accounts/{account_sid}/Messages/{message_sid}/Media/{sid}"


def media_resource(account_sid: str, entry: Entry, medium: Mapping[str, str]) -> dict[str, Any]:
    """One medium as Twilio shows it."""
    return {
        "account_sid": account_sid,
        "content_type": medium["content_type"],
        "date_created": format_datetime(entry.at),
        "date_updated": format_datetime(entry.at),
        "parent_sid": entry.provider_message_id,
        "sid": medium["sid"],
        "uri": f"{media_path(account_sid, entry.provider_message_id, medium['sid'])}.json",
    }


def redirect_to_bytes(request: web.Request, entry: Entry, medium: Mapping[str, str]) -> web.Response:
    """307 to the same port, on loopback under another host name, as Twilio sends its callers to another host."""
    host = {"localhost": "127.0.0.1", "127.0.0.1": "localhost"}.get(request.url.host or "", request.url.host)
    path = BYTES_PATH.format(sid=entry.provider_message_id, key=medium["key"])
    return web.Response(status=307, headers={"Location": f"http://{host}:{request.url.port}{path}"})


class MediaHost:
    """Serves the bytes to whoever knows their path."""

    def __init__(self, inbound: Ledger) -> None:
        self._inbound = inbound

    def routes(self) -> list[web.RouteDef]:
        """`BYTES_PATH`, for `web.Application.add_routes`."""
        return [web.get(BYTES_PATH, self.content)]

    async def content(self, request: web.Request) -> web.Response:
        """200 with the bytes and their content type; 404 for a key that was not given out."""
        entry = self._inbound.find(request.match_info["sid"])
        for medium in entry.details.get("media", ()) if entry else ():
            if medium["key"] == request.match_info["key"]:
                content = base64.b64decode(medium["content_base64"])
                return web.Response(body=content, headers=HARMLESS | {"Content-Type": medium["content_type"]})
        return web.Response(status=404)
