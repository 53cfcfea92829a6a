"""What SendGrid's answers and events mean for a mail: why it was refused, and why it did not arrive.

SendGrid has no codes of its own. An answer has an HTTP status and `{"errors": [{"message", "field"}]}`, an event has a
reason, the status of RFC 3463 that the receiving server gave, or SendGrid's classification of it. The sentences are
ours, as SendGrid's own, and those of servers, may repeat what we sent.

What has no row is unlisted: a 4xx that names SendGrid's errors is `Rejected` with its status, a 4xx without them came
from something in between and is `Uncertain`, and so is every other status: SendGrid calls none of its 5xx safe to
repeat.
"""

from collections.abc import Collection
from typing import NamedTuple

from providers.base import OptOutReason
from providers.errors import Misconfigured, NotSent, ProviderError, Rejected, Uncertain

_API = "https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api"
ERRORS = f"{_API}/errors"
RESPONSES = f"{_API}/responses"
LIMITS = f"{_API}/rate-limits"
MAIL_SEND = "https://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
SUPPORT = "https://support.sendgrid.com/hc/en-us/articles/18322114821403-4XX-API-Errors-and-Troubleshooting-Suggestions"
EVENTS = "https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event"
DROPS = "https://docs.sendgrid.com/glossary/drops"
BOUNCES = "https://www.twilio.com/docs/sendgrid/api-reference/bounces-api/retrieve-bounces-by-specific-classification"
RFC_3463 = "https://www.rfc-editor.org/rfc/rfc3463"
RFC_7372 = "https://www.rfc-editor.org/rfc/rfc7372"
RFC_7505 = "https://www.rfc-editor.org/rfc/rfc7505"

# In place of a field's name: whichever the answer complains about.
ANY_FIELD = "any field"


class Refusal(NamedTuple):
    """An answer other than 202.

    `about` is what SendGrid complains about, as a field without its numbers or as its message, "" for anything else;
    of the rows that fit, the first counts. `bare`: believed without SendGrid's list of errors.
    """

    status: int
    about: str
    outcome: type[ProviderError]
    page: str
    sentence: str
    bare: bool = False


class Failure(NamedTuple):
    """An event that says that a mail did not arrive.

    `about` is SendGrid's reason for a drop; for a bounce the receiving server's status (RFC 3463, "X" for its class) or
    SendGrid's classification. `opt_out` says why the recipient must get no more, None where nothing says so.
    """

    event: str
    about: str
    page: str
    sentence: str
    opt_out: OptOutReason | None = None


# fmt: off
REFUSALS = (
    # The mail, its recipient or its sender: nobody else is harmed.
    Refusal(400, "from",                     Rejected,      MAIL_SEND,
            "SendGrid does not take the sender's address."),
    Refusal(400, "personalizations.to",      Rejected,      MAIL_SEND,
            "SendGrid does not take the recipient's address."),
    Refusal(400, "reply_to",                 Rejected,      MAIL_SEND,
            "SendGrid does not take the address for answers."),
    Refusal(400, "subject",                  Rejected,      MAIL_SEND,
            "SendGrid does not take the subject."),
    Refusal(400, "content",                  Rejected,      MAIL_SEND,
            "SendGrid does not take the text or the HTML."),
    Refusal(400, "headers",                  Rejected,      MAIL_SEND,
            "SendGrid does not take a header of the message."),
    Refusal(400, "",                         Rejected,      ERRORS,
            "SendGrid found the message invalid."),
    Refusal(403, "from",                     Rejected,      RESPONSES,
            "The sender is not verified at SendGrid."),
    Refusal(403, ANY_FIELD,                  Rejected,      RESPONSES,
            "SendGrid does not allow a field of the message."),
    Refusal(406, "",                         Rejected,      ERRORS,
            "SendGrid missed a header of the request."),
    Refusal(413, "",                         Rejected,      MAIL_SEND,
            "The message is larger than SendGrid takes.", bare=True),
    Refusal(415, "",                         Rejected,      MAIL_SEND,
            "SendGrid does not take a request of this type."),

    # The account, its key or where it lives: every mail would fail, so all of them wait.
    Refusal(401, "Maximum credits exceeded", Misconfigured, SUPPORT,
            "The SendGrid account's credits are used up."),
    Refusal(401, "",                         Misconfigured, ERRORS,
            "SendGrid refused the API key, or the account's credits are used up.", bare=True),
    Refusal(403, "",                         Misconfigured, RESPONSES,
            "SendGrid does not let this API key or account send."),
    Refusal(404, "",                         Misconfigured, MAIL_SEND,
            "SendGrid takes no mail at this address: check SENDGRID_BASE_URL."),
    Refusal(405, "",                         Misconfigured, MAIL_SEND,
            "SendGrid takes no mail in this way: check SENDGRID_BASE_URL."),
    Refusal(451, "",                         Misconfigured, ERRORS,
            "SendGrid keeps this account's data in another region: check SENDGRID_BASE_URL."),

    # Too much at once: refused before anything was taken, so another try is safe.
    Refusal(429, "",                         NotSent,       LIMITS,
            "SendGrid takes no more requests at the moment.", bare=True),

    # Trouble inside SendGrid: nobody says whether the mail was taken.
    Refusal(500, "",                         Uncertain,     ERRORS,
            "SendGrid failed while it took the message."),
    Refusal(503, "",                         Uncertain,     MAIL_SEND,
            "SendGrid is not available at the moment."),
)

FAILURES = (
    # SendGrid did not even try.
    Failure("dropped", "Bounced Address",                   EVENTS,
            "SendGrid did not try: an earlier mail to this recipient bounced.", "bounce"),
    Failure("dropped", "Unsubscribed Address",              EVENTS,
            "SendGrid did not try: the recipient has unsubscribed.", "unsubscribe"),
    Failure("dropped", "Spam Reporting Address",            EVENTS,
            "SendGrid did not try: the recipient reported an earlier mail as spam.", "spam_report"),
    Failure("dropped", "Invalid",                           EVENTS,
            "SendGrid did not try: the recipient's address is invalid."),
    Failure("dropped", "Spam Content",                      DROPS,
            "SendGrid did not try: the content looks like spam."),
    Failure("dropped", "Invalid SMTPAPI header",            DROPS,
            "SendGrid did not try: it could not read the header with its own instructions."),
    Failure("dropped", "Recipient List over Package Quota", EVENTS,
            "SendGrid did not try: the account's quota is used up."),

    # The receiving server refused: the recipient's mailbox.
    Failure("bounce", "X.1.1",  RFC_3463, "The mailbox does not exist."),
    Failure("bounce", "X.1.2",  RFC_3463, "The domain of the recipient takes no mail."),
    Failure("bounce", "X.1.3",  RFC_3463, "The recipient's address is not valid."),
    Failure("bounce", "X.1.6",  RFC_3463, "The recipient has moved to another mailbox."),
    Failure("bounce", "X.1.10", RFC_7505, "The domain of the recipient takes no mail."),
    Failure("bounce", "X.2.1",  RFC_3463, "The mailbox is disabled."),
    Failure("bounce", "X.2.2",  RFC_3463, "The mailbox is full."),
    Failure("bounce", "X.2.3",  RFC_3463, "The message is too large for the mailbox."),

    # The receiving server refused: itself, and the way to it.
    Failure("bounce", "X.3.1",  RFC_3463, "The receiving server has no space left."),
    Failure("bounce", "X.3.2",  RFC_3463, "The receiving server takes no mail at the moment."),
    Failure("bounce", "X.3.4",  RFC_3463, "The message is too large for the receiving server."),
    Failure("bounce", "X.4.1",  RFC_3463, "The receiving server could not be reached."),
    Failure("bounce", "X.4.2",  RFC_3463, "The connection to the receiving server broke."),
    Failure("bounce", "X.4.4",  RFC_3463, "No way to the receiving server was found."),
    Failure("bounce", "X.4.6",  RFC_3463, "The message went in circles between servers."),
    Failure("bounce", "X.4.7",  RFC_3463, "The message could not be delivered within the time for it."),

    # The receiving server refused: the sender, or what the message says.
    Failure("bounce", "X.1.8",  RFC_3463, "The receiving server does not accept the sender's domain."),
    Failure("bounce", "X.6.1",  RFC_3463, "The receiving server does not take this type of content."),
    Failure("bounce", "X.7.1",  RFC_3463, "The receiving server refused the message by policy."),
    Failure("bounce", "X.7.20", RFC_7372, "The receiving server found no valid DKIM signature of the sender's domain."),
    Failure("bounce", "X.7.21", RFC_7372, "The receiving server found no DKIM signature that it accepts."),
    Failure("bounce", "X.7.22", RFC_7372, "The receiving server found no DKIM signature of the author's own domain."),
    Failure("bounce", "X.7.23", RFC_7372, "The sender's domain does not let this server send (SPF)."),
    Failure("bounce", "X.7.24", RFC_7372, "The receiving server could not check whether this server may send (SPF)."),
    Failure("bounce", "X.7.25", RFC_7372, "The sending server has no name that can be looked up (reverse DNS)."),
    Failure("bounce", "X.7.26", RFC_7372, "The receiving server could not authenticate the sender's domain."),
    Failure("bounce", "X.7.27", RFC_7505, "The sender's domain takes no mail, so answers could not arrive."),

    # What SendGrid made of an answer without such a status.
    Failure("bounce", "Invalid Address",              BOUNCES, "The recipient's address is not valid."),
    Failure("bounce", "Mailbox Unavailable",          BOUNCES, "The mailbox is not available."),
    Failure("bounce", "Content",                      BOUNCES, "The receiving server refused what the message says."),
    Failure("bounce", "Reputation",                   BOUNCES, "The receiving server distrusts the sender."),
    Failure("bounce", "Frequency or Volume Too High", BOUNCES, "The receiving server found that too much mail came."),
    Failure("bounce", "Technical Failure",            BOUNCES, "The receiving server could not take the message."),
)
# fmt: on


def refusal(status: int, about: Collection[str]) -> Refusal | None:
    """The row of an answer with this status that complains about these fields and messages, None when unlisted."""
    return next((row for row in REFUSALS if row.status == status and (not row.about or row.about in about)), None)


def failure(event: str, *about: str) -> Failure | None:
    """The row of an event, by the first of these that has one, None when unlisted."""
    return next((row for each in about for row in FAILURES if (row.event, row.about) == (event, each)), None)
