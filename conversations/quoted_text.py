"""What somebody newly wrote in a mail, apart from what their mail program quoted below it. Pure functions."""

import re

from mailparser_reply.constants import GENERIC_MAIL_SEPARATOR, MAIL_LANGUAGES

# The patterns below take more than linear time in long lines and in runs of empty ones, and strangers write the mails.
LOOKED_AT_LINES = 200
LINE_CHARACTERS = 200

# Of mail-parser-reply only its patterns, as its parser looks for signatures too and takes much longer.
_QUOTE_BEGINS = re.compile(
    "|".join(
        pattern
        for language in MAIL_LANGUAGES.values()
        for kind in ("wrote_header", "from_header")
        if (pattern := language.get(kind))
    )
    + f"|{GENERIC_MAIL_SEPARATOR}",
    re.MULTILINE | re.IGNORECASE,
)


def quote_begins(text: str) -> int:
    """Return how many characters stand above the quoted mail; all of them where nothing is quoted, or nothing above."""
    lines = text.splitlines(keepends=True)
    written = lines[: _first_quoting(lines)]
    while written and (not written[-1].strip() or written[-1].lstrip().startswith(">")):
        written.pop()
    return len("".join(written).rstrip()) or len(text)


def _first_quoting(lines: list[str]) -> int | None:
    """The number of the line that introduces the quoted mail, such as "On Monday Ann wrote:"; None without one."""
    numbers = [number for number, line in enumerate(lines[:LOOKED_AT_LINES]) if line.strip()]
    looked_at = "\n".join(lines[number].strip()[:LINE_CHARACTERS] for number in numbers)
    found = _QUOTE_BEGINS.search(looked_at)
    if found is None:
        return None
    begins = found.end() - len(found.group().lstrip())
    return numbers[looked_at.count("\n", 0, begins)]
