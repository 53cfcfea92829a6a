"""How templates show phone numbers and mail addresses."""

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.filter
def breakable(address: str) -> SafeString:
    """Return an address that breaks behind its @ where it does not fit, and only then anywhere."""
    return mark_safe(str(escape(address)).replace("@", "@<wbr>"))  # noqa: S308
