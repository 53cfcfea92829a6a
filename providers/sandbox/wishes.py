"""What the sandbox's own pages take and give: JSON objects."""

import json
from typing import Any

from aiohttp import web


async def wish(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body. ValueError with a sentence when there is none, or it is not called JSON: a browser
    asks before it lets a page of another site say so.
    """
    if request.content_type != "application/json":
        raise ValueError("The Content-Type must be application/json.")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ValueError("The body must be a JSON object.")
    return body


def answer(body: dict[str, Any], status: int = 200) -> web.Response:
    """The body as application/json. TypeError when it holds what JSON can't say."""
    return web.json_response(body, status=status)
