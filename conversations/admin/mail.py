"""The HTML of mails, shown so that nothing in it acts or is fetched."""

from base64 import b64encode
from functools import partial
from urllib.parse import unquote

import nh3
from django.http import HttpResponse
from rest_framework.exceptions import APIException

from conversations.api.media import SHOWN_INLINE, opened
from conversations.models import Media, Message

STYLES = {
    *("color", "background-color", "font", "font-family", "font-size", "font-style", "font-weight", "line-height"),
    *("text-align", "text-decoration", "text-transform", "vertical-align", "white-space", "direction"),
    *("border", "border-top", "border-right", "border-bottom", "border-left", "border-color", "border-collapse"),
    *("border-radius", "padding", "padding-top", "padding-right", "padding-bottom", "padding-left", "margin"),
    *("margin-top", "margin-right", "margin-bottom", "margin-left", "width", "max-width", "height", "display"),
}
ATTRIBUTES = {
    **nh3.ALLOWED_ATTRIBUTES,
    "*": {"style", "dir", "lang", "title", "align", "valign", "bgcolor"},
    "table": {"width", "border", "cellpadding", "cellspacing"},
    "td": {"width", "height", "colspan", "rowspan", "nowrap"},
    "th": {"width", "height", "colspan", "rowspan", "nowrap", "scope"},
    "font": {"color", "face", "size"},
    "a": {"href", "hreflang"},
}
SCHEMES = {"http", "https", "mailto", "tel", "data", "cid"}
DATA_PICTURES = ("data:image/png", "data:image/jpeg", "data:image/gif", "data:image/webp")

MOST_BYTES_OF_PICTURES = 10 * 1024 * 1024
"""So many are shown in one mail, each as often as it stands there: a mail can name one picture a thousand times."""

# Says it twice, to the frame and to whoever opens it by itself: no script, no form, and nothing from anywhere. Links
# open in a window of their own: in the frame a stranger's page would stand in the middle of ours.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; form-action 'none';"
    " base-uri 'none'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
PAGE = """<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>Mail</title>
<style>body{{margin:12px;font:14px/1.5 sans-serif;color:#222;background:#fff;overflow-wrap:anywhere}}
img{{max-width:100%;height:auto}}table{{max-width:100%}}</style>{}"""


class Pictures:
    """The pictures that came with a message and that its HTML names by `cid:`, as `data:` URLs.

    Not as links to the files: the sandboxed frame is of no origin, so the browser sends no session along with it.
    """

    def __init__(self, message: Message) -> None:
        shown = message.media.filter(status=Media.Status.STORED, content_type__in=SHOWN_INLINE)
        self._media = {each.content_id: each for each in shown.exclude(content_id="")}
        self._left = MOST_BYTES_OF_PICTURES

    def at(self, url: str) -> str | None:
        """Return the picture at a `cid:` URL (RFC 2392), None where there is none or they become too many."""
        media = self._media.get(unquote(url.partition(":")[2]).strip("<> "))
        if media is None or (media.size or 0) > self._left:
            return None
        try:
            with opened(media) as file:
                content = file.read(self._left)
        except APIException:
            return None
        self._left -= len(content)
        return f"data:{media.content_type};base64,{b64encode(content).decode()}"


def cleaned(message: Message) -> str:
    """Return of the HTML of a mail what can only be looked at, and links that tell nobody where they were."""
    return nh3.clean(
        message.html,
        tags=nh3.ALLOWED_TAGS | {"font"},
        clean_content_tags={"script", "style", "title", "head", "noscript", "template"},
        attributes=ATTRIBUTES,
        attribute_filter=partial(without_other_data, Pictures(message)),
        url_schemes=SCHEMES,
        filter_style_properties=STYLES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def without_other_data(pictures: Pictures, tag: str, name: str, value: str) -> str | None:
    """Return an attribute's value; None for `data:` where it is no picture, and for pictures from elsewhere."""
    scheme = value.strip().lower()
    if tag == "img" and name == "src":
        return pictures.at(value.strip()) if scheme.startswith("cid:") else pictured(value)
    return None if scheme.startswith(("data:", "cid:")) else value


def pictured(value: str) -> str | None:
    """Return the URL of a picture that is in it itself; None for any other."""
    return value if value.lower().startswith(DATA_PICTURES) else None


def html_page(message: Message) -> HttpResponse:
    """Answer the HTML of a mail as a page of its own, for a sandboxed frame."""
    response = HttpResponse(PAGE.format(cleaned(message)))
    response["Content-Security-Policy"] = POLICY
    response["X-Frame-Options"] = "SAMEORIGIN"
    response["X-Content-Type-Options"] = "nosniff"
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "private, no-store"
    return response
