"""The words by which people on the phone say that they want no more texts, or texts again. Pure functions.

We act on them and answer none: Twilio answers them itself (https://help.twilio.com/articles/223134027).
"""

import re
import unicodedata

from providers.base import Keyword

# The words that the FCC names (47 CFR 64.1200(a)(10)) and those of Twilio's default handling.
_STOP = frozenset({"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"})
_START = frozenset({"start", "yes", "unstop"})
_HELP = frozenset({"help", "info"})


def keyword_in(text: str) -> Keyword | None:
    """Return what a text asks for if it is one of the words and nothing else, in any case, spacing and punctuation."""
    text = text.strip()
    word = re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text[:100])).casefold()
    if len(text) > 100 or not word:
        return None
    if word in _STOP:
        return "stop"
    if word in _START:
        return "start"
    return "help" if word in _HELP else None
