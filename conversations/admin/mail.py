"""The HTML of mails, shown so that nothing in it acts or is fetched."""

import nh3
from django.http import HttpResponse

from conversations.models import Message

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
SCHEMES = {"http", "https", "mailto", "tel", "data"}
DATA_PICTURES = ("data:image/png", "data:image/jpeg", "data:image/gif", "data:image/webp")

# Says it twice, to the frame and to whoever opens it by itself: no script, no form, and nothing from anywhere. Links
# open in a window of their own: in the frame a stranger's page would stand in the middle of ours.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; form-action 'none';"
    " base-uri 'none'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
PAGE = """<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>Mail</title>
<style>body{{margin:12px;font:14px/1.5 sans-serif;color:#222;background:#fff;overflow-wrap:anywhere}}
img{{max-width:100%;height:auto}}table{{max-width:100%}}</style>{}"""


def cleaned(html: str) -> str:
    """Return of the HTML of a mail what can only be looked at, and links that tell nobody where they were."""
    return nh3.clean(
        html,
        tags=nh3.ALLOWED_TAGS | {"font"},
        clean_content_tags={"script", "style", "title", "head", "noscript", "template"},
        attributes=ATTRIBUTES,
        attribute_filter=without_other_data,
        url_schemes=SCHEMES,
        filter_style_properties=STYLES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def without_other_data(tag: str, name: str, value: str) -> str | None:
    """Return an attribute's value; None for `data:` where it is no picture, and for pictures from elsewhere."""
    if tag == "img" and name == "src":
        return value if value.lower().startswith(DATA_PICTURES) else None
    return None if value.strip().lower().startswith("data:") else value


def html_page(message: Message) -> HttpResponse:
    """Answer the HTML of a mail as a page of its own, for a sandboxed frame."""
    response = HttpResponse(PAGE.format(cleaned(message.html)))
    response["Content-Security-Policy"] = POLICY
    response["X-Frame-Options"] = "SAMEORIGIN"
    response["X-Content-Type-Options"] = "nosniff"
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "private, no-store"
    return response
