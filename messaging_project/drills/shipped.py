"""Each kind of kill with the times as they are shipped: nothing in the other drills may owe to their short times."""

from messaging_project.drills.broker import BROKER_AWAY, redis_kill
from messaging_project.drills.database import DATABASE_AWAY, REFUSED, database_crash
from messaging_project.drills.ground import Ground, drill
from messaging_project.drills.stack import SHIPPED_TIMES
from messaging_project.drills.web import web_kill
from messaging_project.drills.workers import RATE, kill_one

# Lease, settle time, a second look, and the second sending.
SHIPPED_END_SECONDS = 60.0 + 120.0 + 30.0 + 60.0
# Of a mail that may never have left nobody can tell for a quarter of an hour.
TEXTS = {"sms": 3, "mms": 1}


@drill(
    "every-kill-shipped",
    timed=True,
    settings=SHIPPED_TIMES,
    within=SHIPPED_END_SECONDS,
    answers=REFUSED,
    expects=(*BROKER_AWAY, *DATABASE_AWAY),
)
def every_kill_shipped(ground: Ground) -> None:
    """Redis, the web process, PostgreSQL and workers are killed in turn; texts in doubt are settled in their time."""
    ground.client.wishes.kinds = TEXTS
    ground.dial(latency_ms=300)
    for kill in (redis_kill, web_kill, database_crash, workers_kill):
        kill(ground)


def workers_kill(ground: Ground) -> None:
    """Kill the workers of texts with -9 under load. No callback comes, so what they had in flight has to be settled."""
    ground.reports_dropped = True
    ground.dial(drop_percent=100)
    with ground.client.load(RATE), ground.fault():
        for name in ("sms", "mms", "sms"):
            ground.wait(4)
            kill_one(ground, name)
