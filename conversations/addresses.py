"""Addresses as text: phone numbers and email addresses made comparable. Pure functions.

The same address always normalises to the same text, so two people's messages meet in one conversation however their
addresses were typed.
"""

import re
from functools import lru_cache

import phonenumbers
from email_validator import EmailNotValidError, validate_email

PHONE_CHARACTERS = re.compile(r"\+?[0-9 ().\-/]{3,32}")
# Twilio's rules for senders that are no phone number: https://www.twilio.com/docs/glossary/what-alphanumeric-sender-id
# and https://www.twilio.com/docs/glossary/what-is-a-short-code
SHORT_CODE = re.compile(r"[0-9]{3,8}")
ALPHANUMERIC_SENDER = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 +\-_&]{1,11}")


# https://en.wikipedia.org/wiki/Toll-free_telephone_numbers_in_the_North_American_Numbering_Plan
TOLL_FREE = re.compile(r"\+18(00|33|44|55|66|77|88)[0-9]{7}")
SENDER_TYPES = ("long_code", "toll_free", "short_code", "alphanumeric", "email")


class InvalidAddress(ValueError):
    """An address that can't be used; `code` is stable, the text says what would be accepted."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@lru_cache(maxsize=10_000)
def normalise_phone(text: str, region: str | None = None) -> str:
    """Return the number as E.164.

    `region` (ISO 3166, such as "US") reads national numbers; without it they are refused. The shape is checked, not
    whether the number exists. Raises `InvalidAddress`.
    """
    if PHONE_CHARACTERS.fullmatch(text.strip()):
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            pass
        else:
            if phonenumbers.is_possible_number(number):
                return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    raise InvalidAddress(
        "invalid_phone",
        "This is not a phone number. Write it as E.164, with + and the country code, such as +15551234567.",
    )


def normalise_phone_sender(text: str, region: str | None = None) -> str:
    """Like `normalise_phone`, and also takes a short code (3 to 8 digits) or an alphanumeric sender (up to 11)."""
    stripped = text.strip()
    if SHORT_CODE.fullmatch(stripped):
        return stripped
    if ALPHANUMERIC_SENDER.fullmatch(stripped):
        return stripped
    return normalise_phone(text, region)


def sender_type(sender: str) -> str:
    """Return which of `SENDER_TYPES` a normalised sender is."""
    if "@" in sender:
        return "email"
    if SHORT_CODE.fullmatch(sender):
        return "short_code"
    if not sender.startswith("+"):
        return "alphanumeric"
    return "toll_free" if TOLL_FREE.fullmatch(sender) else "long_code"


def normalise_sender(text: str) -> str:
    """Return one of our own addresses, of either channel, as messages keep it. Raises `InvalidAddress`."""
    return normalise_email(text) if "@" in text else normalise_phone_sender(text)


def normalise_leniently(text: str) -> str:
    """Return an address that a provider wrote as we would write it, or as it came (cut to 254) if we could not."""
    try:
        return normalise_sender(text)
    except InvalidAddress:
        return text.strip()[:254]


@lru_cache(maxsize=10_000)
def normalise_email(text: str) -> str:
    """Return the bare address with its domain in lower case; the local part keeps its case (RFC 5321, 2.4).

    No DNS is asked. Raises `InvalidAddress`.
    """
    try:
        # The reserved name .test is a legal address in form, and what people try things out with.
        return validate_email(text.strip(), check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError:
        raise InvalidAddress(
            "invalid_email", "This is not an email address. Write it bare, such as ann@example.com."
        ) from None


def participants_key(channel_type: str, one: str, other: str, *, test: bool) -> str:
    """Return what two addresses have in common whichever of them writes: the unordered pair on its channel.

    Mailboxes that differ only by case are one mailbox to every large provider, so case does not part conversations.
    What is written in a test never meets what is not.
    """
    first, second = sorted((one.casefold(), other.casefold()))
    return f"{'test:' if test else ''}{channel_type}:{first}|{second}"
