"""Who is let in: programs, and the sandbox's own page. No page of another site that a browser here has open.

Such a page can post wherever it likes, and under a name that its DNS turns to this machine (DNS rebinding) it can even
read the answers. So a host must be called by an address or by a name without a dot, which no other site can have, and
whatever changes something must not come from another origin. Programs say nothing of origins.
"""

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from providers.sandbox.wishes import answer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@web.middleware
async def own_page_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What the handler answers, or 403 `{"detail"}` with a sentence and nothing done."""
    if not is_called_right(request.headers.get("Host", "")):
        return answer({"detail": "Call the sandbox by its address, such as 127.0.0.1, or localhost."}, status=403)
    if request.method not in {"GET", "HEAD"} and is_from_elsewhere(request):
        return answer({"detail": "A page of another site may change nothing here."}, status=403)
    response = await handler(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def is_called_right(host: str) -> bool:
    """Whether a Host header names an address, or a name that can't be one of another site."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return "." not in name or bool(ip_address(name))
    except ValueError:
        return False


def is_from_elsewhere(request: web.Request) -> bool:
    """Whether a browser says that a page of another origin sent it."""
    origin = request.headers.get("Origin", f"http://{request.host}")
    return origin != f"http://{request.host}" or request.headers.get("Sec-Fetch-Site", "none") not in {
        "none",
        "same-origin",
    }
