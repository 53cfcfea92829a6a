"""Providers that fail while another one can carry: messages leave by that one, soon, and nobody gets two."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from messaging_project.drills.books import Entry, longest_wait, seconds_until_first
from messaging_project.drills.ground import STOPPED, Ground, drill
from messaging_project.drills.ledgers import entries
from messaging_project.drills.provider import MOST_MET
from messaging_project.drills.stack import SHORT_TIMES

RATE = 15.0
ROUTED = {**SHORT_TIMES, "ROUTE_SMS": "twilio,twilio_backup", "ROUTE_EMAIL": "sendgrid,smtp"}
# A call takes as long as it does as shipped; a doubt about it is looked up as soon as the rules between them allow.
SLOW = {"PROVIDER_TIMEOUT_SECONDS": "20", "LEASE_SECONDS": "26", "SETTLE_MARGIN_SECONDS": "1", "SETTLE_SECONDS": "21"}
TEXTS = {"sms": 3, "mms": 1}
DOWN_SECONDS = 12.0
AWAY_WITHIN_SECONDS = 5.0
# The next probe, a second until every process has read what it found, and the time to post and to send.
BACK_AFTER_BREAKER_SECONDS, BACK_AFTER_PAUSE_SECONDS = 5.0, 8.0

# A probe that hangs takes as long as any call, and there is one at a time.
MOST_PROBES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The first account of a route could not carry from `began` until `ended`, and the next one could."""

    first: str
    next: str
    began: datetime
    ended: datetime


@drill("failover-sms", timed=True, settings=ROUTED, expects=STOPPED)
def failover_sms(ground: Ground) -> None:
    """The first Twilio refuses connections for a while; the second one carries its texts."""
    ground.client.wishes.kinds = TEXTS
    with ground.client.load(RATE):
        ground.wait(2)
        failure = down(ground, "twilio", "twilio_backup")
        ground.wait(BACK_AFTER_BREAKER_SECONDS + 1)
    hold_away(ground, failure)
    hold_back(ground, failure, BACK_AFTER_BREAKER_SECONDS)


@drill("failover-email", timed=True, settings=ROUTED, expects=STOPPED)
def failover_email(ground: Ground) -> None:
    """SendGrid refuses connections for a while; a mail server carries the mails, of which nothing is reported then."""
    with ground.client.load(RATE, kind="email"):
        ground.wait(2)
        failure = down(ground, "sendgrid", "smtp")
        ground.wait(BACK_AFTER_BREAKER_SECONDS + 1)
    hold_away(ground, failure)
    hold_back(ground, failure, BACK_AFTER_BREAKER_SECONDS)


@drill("failover-401", timed=True, settings=ROUTED, expects=STOPPED)
def failover_401(ground: Ground) -> None:
    """The first Twilio calls our credentials wrong, until a probe finds that it takes them again."""
    with ground.client.load(RATE, kind="sms"):
        ground.wait(2)
        with ground.fault():
            began = datetime.now(UTC)
            ground.order("401", MOST_MET)
            ground.wait(10)
            ground.take_faults_back()
        failure = Failure(first="twilio", next="twilio_backup", began=began, ended=datetime.now(UTC))
        ground.wait(BACK_AFTER_PAUSE_SECONDS + 1)
    hold_away(ground, failure)
    hold_back(ground, failure, BACK_AFTER_PAUSE_SECONDS)


@drill("failover-hang", timed=True, settings=ROUTED | SLOW, expects=STOPPED)
def failover_hang(ground: Ground) -> None:
    """The first Twilio accepts and does not answer for 20 s; no callback tells of it, so only its records can."""
    ground.reports_dropped = True
    ground.dial(drop_percent=100)
    # Whoever is written to again waits for what hangs: messages to one person keep their order.
    ground.client.wishes.familiar_percent = ground.client.wishes.unreachable_percent = 0
    with ground.client.load(RATE, kind="sms"):
        ground.wait(2)
        with ground.fault():
            began = datetime.now(UTC)
            ground.order("hang_accepted", MOST_MET)
            ground.wait(10)
            met = ground.take_faults_back()
        failure = Failure(first="twilio", next="twilio_backup", began=began, ended=datetime.now(UTC))
    ground.expect("a few dozen calls hang", met["twilio"] >= 2 * RATE)
    ground.wait(AWAY_WITHIN_SECONDS)
    hold_away(ground, failure)
    # To be accepted is not to be answered here: only a probe may still go there.
    late = asked_between(ground, failure.began + timedelta(seconds=AWAY_WITHIN_SECONDS), failure.ended)
    still = sum(entry.message_id in late and entry.account == "twilio" for entry in accepted_since(ground, failure))
    ground.hold("texts that still went to twilio", still, MOST_PROBES)


def down(ground: Ground, first: str, following: str) -> Failure:
    """Let the sandbox be away for a while, and with it the first account of a route."""
    with ground.fault():
        began = datetime.now(UTC)
        ground.stack.kill_sandbox()
        ground.count_doubtful_emails()
        ground.wait(DOWN_SECONDS)
        ground.stack.start_sandbox()
    return Failure(first=first, next=following, began=began, ended=datetime.now(UTC))


def hold_away(ground: Ground, failure: Failure) -> None:
    """The bars for leaving an account that fails: soon for the first message, and then for every message."""
    accepted = accepted_since(ground, failure)
    seconds = seconds_until_first(accepted, failure.next, failure.began)
    ground.hold(f"{failure.next} carries after a failure, in seconds", seconds, AWAY_WITHIN_SECONDS)
    seconds = longest_wait(
        asked(ground), accepted, failure.began + timedelta(seconds=AWAY_WITHIN_SECONDS), failure.ended
    )
    ground.hold("from a post during the failure to its acceptance, in seconds", seconds, AWAY_WITHIN_SECONDS)


def hold_back(ground: Ground, failure: Failure, within: float) -> None:
    """The bars for coming back to it: soon, and then wholly."""
    accepted = accepted_since(ground, failure)
    seconds = seconds_until_first(accepted, failure.first, failure.ended)
    ground.hold(f"{failure.first} carries again, in seconds", seconds, within)
    late = asked_between(ground, failure.ended + timedelta(seconds=within), datetime.now(UTC))
    carriers = {entry.account for entry in accepted if entry.message_id in late}
    ground.expect(f"{failure.first} alone carries in the end, not {carriers or 'nobody'}", carriers == {failure.first})


def accepted_since(ground: Ground, failure: Failure) -> list[Entry]:
    """What the providers accepted since the failure began."""
    return entries(ground.stack.carriers, failure.began)


def asked(ground: Ground) -> dict[str, datetime]:
    """When the client began to post each message."""
    monotonic_began = datetime.now(UTC) - timedelta(seconds=time.monotonic())
    return {
        post.message_id: monotonic_began + timedelta(seconds=post.at) for post in ground.client.posts if post.accepted
    }


def asked_between(ground: Ground, since: datetime, until: datetime) -> set[str]:
    """The ids of what the client posted in that time."""
    return {each for each, at in asked(ground).items() if since <= at < until}
