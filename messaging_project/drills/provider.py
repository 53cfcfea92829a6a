"""Providers that refuse, lose the answer, take it late, or are away."""

from messaging_project.drills.ground import STOPPED, Ground, drill
from messaging_project.drills.late_line import LateLine

RATE = 15.0
MOST_MET, MEETING_SECONDS = 1_000, 8.0
DOWN_SECONDS = 60.0


def refused(ground: Ground, fault: str, *, kind: str = "", seconds: float = MEETING_SECONDS) -> int:
    """Let requests of both providers meet a fault; how many mails did."""
    with ground.client.load(RATE, kind=kind):
        ground.wait(2)
        with ground.fault():
            ground.order(fault, MOST_MET)
            ground.wait(seconds)
            met = ground.take_faults_back()
        ground.wait(2)
    return met["sendgrid"]


def in_doubt(ground: Ground, fault: str, *, kind: str = "", seconds: float = MEETING_SECONDS) -> None:
    """Let requests meet a fault that says nothing about whether they were sent: of a mail that can't be proven."""
    ground.doubtful_emails += refused(ground, fault, kind=kind, seconds=seconds)


@drill("provider-429", short=True, expects=STOPPED)
def provider_429(ground: Ground) -> None:
    """429 with Retry-After: nothing was sent."""
    refused(ground, "429")


@drill("provider-401", expects=STOPPED)
def provider_401(ground: Ground) -> None:
    """401: the account is in trouble, and no message is to blame."""
    refused(ground, "401")


@drill("provider-500", expects=STOPPED)
def provider_500(ground: Ground) -> None:
    """500, and nothing was accepted."""
    in_doubt(ground, "500")


@drill("provider-500-accepted", expects=STOPPED)
def provider_500_accepted(ground: Ground) -> None:
    """500, and yet it was accepted."""
    in_doubt(ground, "500_accepted")


@drill("provider-reset", expects=STOPPED)
def provider_reset(ground: Ground) -> None:
    """The connection is reset before anything was accepted."""
    in_doubt(ground, "reset")


@drill("provider-answer-lost", short=True, expects=STOPPED)
def provider_answer_lost(ground: Ground) -> None:
    """Texts are accepted, then the connection is reset; no callback tells of it, so only Twilio's records can."""
    ground.reports_dropped = True
    ground.dial(drop_percent=100)
    in_doubt(ground, "reset_accepted", kind="sms")


@drill("provider-hang", expects=STOPPED)
def provider_hang(ground: Ground) -> None:
    """Accepted, then no answer, as long as anybody waits for it."""
    in_doubt(ground, "hang_accepted")


@drill("provider-garbage", expects=STOPPED)
def provider_garbage(ground: Ground) -> None:
    """Accepted, and answered 200 with something that is no JSON."""
    in_doubt(ground, "garbage")


@drill("provider-storm", expects=STOPPED)
def provider_storm(ground: Ground) -> None:
    """Nothing but 500 for 20 s."""
    in_doubt(ground, "500", seconds=20)


@drill("provider-down", expects=STOPPED)
def provider_down(ground: Ground) -> None:
    """Both providers refuse connections for a minute."""
    with ground.client.load(RATE):
        ground.wait(4)
        with ground.fault():
            ground.stack.kill_sandbox()
            ground.count_doubtful_emails()
            ground.wait(DOWN_SECONDS)
            ground.stack.start_sandbox()


@drill("provider-late", expects=STOPPED)
def provider_late(ground: Ground) -> None:
    """Twilio accepts what we have given up long ago, but within the settle time."""
    ground.reports_dropped = True
    ground.dial(drop_percent=100)
    with LateLine(ground.stack) as line, ground.fault():
        with ground.client.load(RATE, kind="sms"):
            ground.wait(2)
            line.hold_seconds = 18.0
            ground.wait(6)
            line.hold_seconds = 0.0
            ground.wait(2)
        ground.wait(18)
