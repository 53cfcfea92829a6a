"""What Twilio's error codes mean for a message: one row each, in the order of what we do about it.

A row serves both doors. In the answer to a message that we offered, its outcome decides what becomes of it; in a report
(`ErrorCode`) the message is undelivered anyway, so only the sentence and `opted_out` count. The sentences are ours,
as Twilio's own contain numbers.

Source: each row's own page, `Row.page`, and https://www.twilio.com/docs/api/errors/twilio-error-codes.json for all of
them. Codes of parameters that we never send (Messaging Services, templates, scheduling, validity periods) are left out,
and so are channels other than SMS and MMS. A code without a row is unlisted: a 4xx with it is `Rejected`, a report with
it a failure, both with its number. No 5xx is a refusal, whatever its code: a message may have been sent
(https://www.twilio.com/docs/api/errors/20500), and no other page promises the contrary.
"""

from collections.abc import Mapping
from typing import NamedTuple

from providers.errors import Misconfigured, NotSent, ProviderError, Rejected, Uncertain


class Row(NamedTuple):
    """One error code. `opted_out`: the recipient wants nothing more from this sender."""

    code: int
    outcome: type[ProviderError]
    sentence: str
    opted_out: bool = False

    @property
    def page(self) -> str:
        """Where Twilio says what the code means."""
        return f"https://www.twilio.com/docs/api/errors/{self.code}"


# fmt: off
ROWS = (
    # The account or its credentials: every message would fail, so all of them wait.
    Row(10001, Misconfigured, "The Twilio account is not active."),
    Row(20003, Misconfigured, "Twilio refused the credentials, or the account is suspended."),
    Row(20005, Misconfigured, "The Twilio account is not active: it ran out of funds or was not activated."),
    Row(20006, Misconfigured, "The Twilio credentials may not send messages, or were revoked."),
    Row(20008, Misconfigured, "The Twilio credentials are test credentials, which can't do this."),
    Row(20010, Misconfigured, "Twilio disabled this for the account."),
    Row(20403, Misconfigured, "The Twilio account was suspended or closed."),
    Row(20404, Misconfigured, "Twilio does not know this account SID."),
    Row(30002, Misconfigured, "The Twilio account was suspended before the message was sent."),
    Row(30037, Misconfigured, "The Twilio account is set to send no messages."),
    Row(30454, Misconfigured, "The Twilio trial account used up its messages."),
    Row(70051, Misconfigured, "Twilio could not authorize the credentials, or their key lacks a permission."),
    Row(70052, Misconfigured, "The Twilio account only takes requests signed by Public Key Client Validation."),
    Row(90010, Misconfigured, "The Twilio account is suspended."),

    # How this installation calls Twilio, the same for every message.
    Row(20004, Misconfigured, "Twilio takes no messages at this address: check TWILIO_BASE_URL."),
    Row(20011, Misconfigured, "Twilio wants a newer version of TLS."),
    Row(20012, Misconfigured, "Twilio wants other TLS ciphers."),
    Row(20410, Misconfigured, "Twilio no longer has this API."),
    Row(20426, Misconfigured, "Twilio wants a newer version of TLS, or other ciphers."),
    Row(21609, Misconfigured, "Twilio does not take PUBLIC_URL as an address for its callbacks."),

    # Too much at once: nothing was created (20429: "never processed and always safe to retry").
    Row(20429, NotSent,       "Twilio takes no more requests at the moment."),
    Row(21611, NotSent,       "The sender's queue at Twilio is full."),
    Row(30001, NotSent,       "The sender's queue at Twilio overflowed."),
    Row(63038, NotSent,       "The Twilio account reached its daily limit of messages."),

    # Trouble inside Twilio: nobody says whether the message was taken.
    Row(20500, Uncertain,     "Twilio failed while it took the message."),
    Row(20503, Uncertain,     "Twilio is not available at the moment."),
    Row(20504, Uncertain,     "Twilio failed to process the message for a reason of its own."),
    Row(30020, Uncertain,     "Twilio failed to schedule the message for a reason of its own."),
    Row(30021, Uncertain,     "Twilio failed to process the message for a reason of its own."),
    Row(30410, Uncertain,     "The carrier did not answer in time; Twilio did not try again, to avoid a second copy."),
    Row(30500, Uncertain,     "Twilio failed to deliver the message for a reason of its own."),

    # The recipient wants no more.
    Row(21610, Rejected,      "The recipient has opted out of messages from this sender.", opted_out=True),
    Row(30630, Rejected,      "The recipient has opted out of messages from this sender.", opted_out=True),

    # The recipient's number.
    Row(21211, Rejected,      "The recipient is not a valid phone number."),
    Row(21265, Rejected,      "The recipient is a short code, which can't receive messages."),
    Row(21266, Rejected,      "The sender and the recipient are the same number."),
    Row(21268, Rejected,      "The recipient is a premium rate or information service, which Twilio does not send to."),
    Row(21408, Rejected,      "The Twilio account may not send to the recipient's region."),
    Row(21604, Rejected,      "The message has no recipient."),
    Row(21608, Rejected,      "A trial account may only send to verified numbers."),
    Row(21612, Rejected,      "Twilio can't reach this recipient from this sender."),
    Row(21614, Rejected,      "The recipient is not a mobile number."),
    Row(21635, Rejected,      "The recipient's number is a landline."),
    Row(30003, Rejected,      "The phone is unreachable: switched off or without a signal."),
    Row(30004, Rejected,      "The recipient or the carrier blocks messages from this sender."),
    Row(30005, Rejected,      "The number is unknown or no longer in use."),
    Row(30006, Rejected,      "The number is a landline, or its carrier takes no messages."),
    Row(30011, Rejected,      "The recipient's carrier takes no pictures or other media."),

    # The sender. It harms nobody else, so none of these is the account's, not even what only an upgrade would mend.
    Row(21212, Rejected,      "The sender is not a valid phone number."),
    Row(21267, Rejected,      "A trial account may not send from a name."),
    Row(21401, Rejected,      "The sender is not a number or a name that can send messages."),
    Row(21601, Rejected,      "The sender is not a number of this Twilio account that can send messages."),
    Row(21603, Rejected,      "The message has no sender."),
    Row(21606, Rejected,      "The sender is not a number of this Twilio account that can send such a message."),
    Row(21607, Rejected,      "A trial account may only send from its sandbox number."),
    Row(21616, Rejected,      "The sender fits several numbers of this Twilio account."),
    Row(21621, Rejected,      "The sender can't send pictures or other media."),
    Row(21622, Rejected,      "The Twilio account may not send pictures or other media."),
    Row(21657, Rejected,      "The recipient's country does not take this sender."),
    Row(21659, Rejected,      "The sender is not a number of Twilio, or a short code of another country."),
    Row(21660, Rejected,      "The sender is not a number of this Twilio account."),
    Row(21661, Rejected,      "The sender is not a number that can send messages."),
    Row(30018, Rejected,      "The recipient's carrier wants the sender's name to be registered first."),
    Row(30024, Rejected,      "The recipient's carrier does not know the sender's number yet."),
    Row(30032, Rejected,      "The toll-free sender is not verified."),
    Row(30033, Rejected,      "The sender's registration in the United States (A2P 10DLC) is suspended."),
    Row(30034, Rejected,      "The sender is not registered for messages to the United States (A2P 10DLC)."),
    Row(30035, Rejected,      "The sender's registration in the United States (A2P 10DLC) is not finished."),
    Row(30040, Rejected,      "The recipient's carrier takes no sender's name that is not registered."),
    Row(30041, Rejected,      "The sender is not registered for messages to the United Kingdom."),
    Row(30042, Rejected,      "The sender's name is blocked: too general, or with characters that are not allowed."),
    Row(30043, Rejected,      "The carrier found the message to come from abroad by a domestic route."),

    # What the message says and carries.
    Row(11200, Rejected,      "Twilio could not fetch what a URL of the message points at."),
    Row(11205, Rejected,      "Twilio could not connect to what a URL of the message points at."),
    Row(11210, Rejected,      "Twilio could not resolve the host name in a URL of the message."),
    Row(11751, Rejected,      "The media are larger than Twilio takes."),
    Row(12300, Rejected,      "Twilio does not take media of this type."),
    Row(20413, Rejected,      "The message is larger than Twilio takes."),
    Row(20422, Rejected,      "Twilio found a parameter of the message invalid."),
    Row(21602, Rejected,      "The message has neither text nor media."),
    Row(21617, Rejected,      "The text is longer than 1,600 characters."),
    Row(21618, Rejected,      "Every carrier filters such a text out."),
    Row(21619, Rejected,      "The message has neither text nor media."),
    Row(21620, Rejected,      "A media URL is not valid."),
    Row(21623, Rejected,      "The message has more media than Twilio takes."),
    Row(21658, Rejected,      "A parameter of the message is longer than Twilio takes."),
    Row(30007, Rejected,      "The carrier or Twilio filtered the message out."),
    Row(30019, Rejected,      "The media are larger than the carrier takes."),
    Row(30044, Rejected,      "The text is longer than a trial account may send."),

    # Limits and protections that ended a message on its way. Whether it may go again is for a person to say.
    Row(14107, Rejected,      "Too many messages went between these two numbers in a short time."),
    Row(30008, Rejected,      "The carrier did not deliver the message and gave no reason."),
    Row(30010, Rejected,      "The message costs more than the account allows."),
    Row(30017, Rejected,      "The carrier's network is overloaded."),
    Row(30022, Rejected,      "The sender exceeded the rate of its registration in the United States (A2P 10DLC)."),
    Row(30023, Rejected,      "The sender reached the daily limit of its United States registration (A2P 10DLC)."),
    Row(30027, Rejected,      "The sender reached T-Mobile's daily limit for its registration (A2P 10DLC)."),
    Row(30036, Rejected,      "The message waited at Twilio until its validity period was over."),
    Row(30450, Rejected,      "Twilio's protection against SMS pumping blocked the message."),
    Row(30453, Rejected,      "Twilio holds messages to this number back, as it suspects fraud."),
    Row(30485, Rejected,      "Twilio holds messages to this number back, as it suspects fraud."),
    Row(30610, Rejected,      "At this hour the recipient's region allows no such message."),
    Row(30615, Rejected,      "At this hour the recipient's region allows no such message."),
)
# fmt: on

BY_CODE: Mapping[int, Row] = {row.code: row for row in ROWS}

# What the HTTP status alone proves, when the body is not Twilio's or names an unlisted code: a 401 is the credentials
# (https://www.twilio.com/docs/usage/twilios-response), a 429 was never processed (the page of 20429). A 403 proves
# nothing about the account: a region that is not enabled is one too (21408).
BY_STATUS: Mapping[int, Row] = {401: BY_CODE[20003], 429: BY_CODE[20429]}
