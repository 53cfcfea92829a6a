"""Workers and sweepers that are killed, frozen, replaced, doubled or away."""

import signal
import time
from datetime import UTC, datetime, timedelta

import psycopg

from messaging_project.drills.ground import STOPPED, Ground, drill
from messaging_project.drills.stack import WORKERS
from messaging_project.local.processes import wait_until

RATE = 15.0
KILLS, KILL_EVERY_SECONDS = 8, 3.0
BACK_WITHIN_SECONDS = 5.0
COLD_ROWS = 20_000
SWEEPER = ("celery", "-A", "messaging_project", "worker", "-P", "threads", "--without-gossip", "--without-mingle")

CLAIM_IS_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND query LIKE '%%WITH free AS MATERIALIZED%%'"""
CLAIMED = "SELECT count(*) FROM conversations_message WHERE status = 'sending'"
BEAT_SINCE = "SELECT count(*) FROM messaging_project_heartbeat WHERE part = %s AND seen_at > %s"
# A conversation and a message each, like the one that the template names, but to somebody else.
COLD_START = """
WITH template AS (
    SELECT m AS message, c AS conversation FROM conversations_message m
    JOIN conversations_conversation c ON c.id = m.conversation_id WHERE m.id = %s
), twin AS MATERIALIZED (
    SELECT number, gen_random_uuid() AS message_id, gen_random_uuid() AS conversation_id
    FROM generate_series(1, %s) AS number
), made AS (
    INSERT INTO conversations_conversation
    SELECT (jsonb_populate_record(conversation, jsonb_build_object(
        'id', conversation_id, 'participants_key', 'cold ' || number, 'participant_to', '+1556' || (3000000 + number)
    ))).* FROM template, twin RETURNING id
)
INSERT INTO conversations_message
SELECT (jsonb_populate_record(message, jsonb_build_object(
    'id', message_id, 'conversation_id', conversation_id, 'recipient', '+1556' || (3000000 + number),
    'body', (message).body || ', twin ' || number
))).* FROM template, twin"""


@drill("worker-kill", short=True, timed=True)
def worker_kill(ground: Ground) -> None:
    """A worker, drawn by lot, is killed with -9 every 3 s."""
    with ground.client.load(RATE), ground.fault():
        for _ in range(KILLS):
            ground.wait(KILL_EVERY_SECONDS)
            kill_one(ground, ground.dice.choice(WORKERS))
        ground.hold("a worker is back after a kill, in seconds", back_after_kill(ground), BACK_WITHIN_SECONDS)


def kill_one(ground: Ground, name: str) -> None:
    """Kill a worker, or one process of it; the mails that it had on their way are in doubt."""
    ground.stack.kill(name, ground.dice)
    time.sleep(0.2)  # what it had asked of the database is done by then
    if name == "email":
        ground.count_doubtful_emails()


def back_after_kill(ground: Ground) -> float:
    """How many seconds after its kill a worker consumes again."""
    at: datetime = ground.stack.rows("SELECT clock_timestamp()")[0][0]
    began = time.monotonic()
    ground.stack.kill("sms")
    wait_until(lambda: ground.stack.rows(BEAT_SINCE, "queue sms", at)[0][0] > 0, seconds=30)
    return time.monotonic() - began


@drill("worker-frozen")
def worker_frozen(ground: Ground) -> None:
    """A worker is frozen between its claim and the call, far past its lease, and thaws when the message was settled."""
    stack = ground.stack
    with ground.client.load(RATE):
        ground.wait(5)
    ground.wait(10)
    post_for_later(ground, seconds=4)
    with ground.fault():
        with psycopg.connect(stack.postgres.url) as holder:
            # A claim looks at the opt-outs, so it stands still in the database, and the worker with it.
            holder.execute("LOCK TABLE conversations_optout IN ACCESS EXCLUSIVE MODE")
            ground.expect("a claim waits", wait_until(lambda: claims_waiting(ground), seconds=20))
            ground.wait(0.5)
            stack.signal("sms", signal.SIGSTOP)
            holder.rollback()
        try:
            ground.expect("it is claimed", wait_until(lambda: stack.rows(CLAIMED)[0][0] > 0, seconds=10))
            stack.start_beside("sms2", *SWEEPER, "-Q", "sms", "-n", "sms2@%h", "-c", "4", "-l", "INFO")
            # Lease, settle time, two looks and the second sending.
            ground.wait(36)
        finally:
            stack.signal("sms", signal.SIGCONT)
        ground.wait(3)
    stack.stop_beside()


def post_for_later(ground: Ground, *, seconds: float) -> None:
    """Thirty texts that come due together; a post at that moment would wait for the lock as well."""
    send_at = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    for _ in range(30):
        ground.client.send(ground.client.wishes.next("sms") | {"send_at": send_at})


def claims_waiting(ground: Ground) -> bool:
    """Whether a claim stands still in the database."""
    return bool(ground.stack.rows(CLAIM_IS_WAITING)[0][0])


@drill("rolling-restart", short=True)
def rolling_restart(ground: Ground) -> None:
    """Web, workers, sweeper and beat are asked to go with SIGTERM, one after the other, under load."""
    with ground.client.load(RATE), ground.fault():
        for name in ("web", *WORKERS, "beat"):
            ground.wait(1)
            ground.stack.replace(name)


@drill("two-sweepers", expects=STOPPED)
def two_sweepers(ground: Ground) -> None:
    """Two sweepers and two beats see to the same lost rings, lost answers and dead workers."""
    ground.stack.start_beside("sweep2", *SWEEPER, "-Q", "sweep", "-n", "sweep2@%h", "-c", "4", "-l", "WARNING")
    ground.stack.start_beside("beat2", "celery", "-A", "messaging_project", "beat", "-l", "WARNING")
    ground.wait(5)
    with ground.client.load(RATE), ground.fault():
        ground.order("reset", 10)
        for name in ("sms", "mms"):
            ground.wait(4)
            kill_one(ground, name)
        ground.doubtful_emails += ground.take_faults_back()["sendgrid"]
        ground.wait(22)  # leases run out and are settled
    ground.stack.stop_beside()


@drill("no-sweeper")
def no_sweeper(ground: Ground) -> None:
    """The sweeper is frozen for half a minute, while rings get lost and a worker dies."""
    with ground.client.load(RATE), ground.fault():
        ground.stack.signal("sweep", signal.SIGSTOP)
        try:
            ground.wait(5)
            with ground.stack.rings() as broker:
                broker.delete("sms", "mms", "email")
            kill_one(ground, "sms")
            ground.wait(25)
        finally:
            ground.stack.signal("sweep", signal.SIGCONT)


@drill("cold-start", timed=True)
def cold_start(ground: Ground) -> None:
    """The workers start with 20,000 messages waiting for them."""
    ground.reports_dropped = True  # the web process could not take 40,000 callbacks in that time
    ground.dial(drop_percent=100)
    with ground.fault():
        ground.stack.running.stop_workers()
        model = ground.client.send(ground.client.wishes.next("sms"))
        ground.stack.execute(COLD_START, model.message_id, COLD_ROWS)
        ground.stack.running.start_workers()
