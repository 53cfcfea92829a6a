"""A large world: conversations and messages as a busy year leaves them, made by the database itself.

Nothing in it is ever due, and no subscriber is told of it. Times run up to now; texts, lengths, statuses and unread
ones are spread as in daily life, and one conversation is hot: it has thousands of messages.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from messaging_project.progress import Progress

TABLES = [
    "conversations_conversation",
    "conversations_message",
    "conversations_messageevent",
    "conversations_media",
]
# The oldest conversation ended a year ago and lasted for three weeks.
SLICES, SLICE = 20, timedelta(days=20)
RARE_WORD, COMMON_WORD = "zebrafinch", "order"
"""What a search finds three times, and what it finds in every third message."""

OPENERS = [
    "Hi, ",
    "Hello, ",
    "Good morning! ",
    "Thanks. ",
    "Just a reminder: ",
    "Sorry for the delay. ",
    "Great news! ",
    "One question: ",
    "",
    "",
]
MIDDLES = [
    "your order {number} has left our warehouse and should be with you by Thursday evening. ",
    "the order {number} arrived, but one of the glasses in it is broken. ",
    "could I change the delivery address of order {number} to my office? ",
    "is order {number} going to make it before the weekend? ",
    "your table for four is booked for Friday at 19:30, reference {number}. ",
    "can we come half an hour later, and would a high chair be possible? ",
    "your appointment is tomorrow at 10:15; please bring your insurance card. ",
    "the driver rang and nobody was at home, so the parcel {number} waits at the corner shop. ",
    "we have looked into it, and the refund of {number} cents is on its way to your account. ",
    "the lamp flickers whenever the heating starts. Is that covered by the warranty? ",
    "please send us a picture of the label on the back, so that we can find the right part. ",
    "the invoice {number} is attached; it is due in fourteen days. ",
    "I would like to cancel the subscription at the end of the month. ",
    "the blue one is sold out, but we could send you the green one today. ",
    "parking is behind the building, the entrance is on the left side. ",
]
CLOSINGS = [
    "Thank you!",
    "See you soon.",
    "Best wishes, Ann",
    "Is that all right?",
    "Bis bald! Grüße",
    "Merci 🙂",
    "",
    "",
]
ERRORS = {
    "undelivered": [("30003", "The phone is unreachable: switched off or without a signal."), ("5.1.1", "No mailbox.")],
    "failed": [("21211", "The recipient is not a valid phone number."), ("30007", "The message was filtered out.")],
}


@dataclass(frozen=True, slots=True)
class Size:
    """How large a world is. `hot` is how many messages its one hot conversation has, which is number 1."""

    conversations: int = 200_000
    messages: int = 2_000_000
    hot: int = 10_000

    def __post_init__(self) -> None:
        if self.conversations < 10 or self.messages < self.conversations + self.hot:
            raise ValueError(
                "A world has 10 conversations or more, and a message for each beside those of the hot one."
            )


# The id of version 7 that something of this time and name has: in the order of times, as ours are.
MAKE_UUID_AT = """
CREATE FUNCTION pg_temp.uuid_at(at timestamptz, name text) RETURNS uuid LANGUAGE sql STABLE AS $$
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
    || '7' || substr(md5(name), 1, 3) || '8' || substr(md5(name), 4, 15))::uuid $$"""

# Of each conversation its length, so that all are `messages` to the last one, and when it began and ended.
CONVERSATIONS = """
CREATE TEMPORARY TABLE world ON COMMIT DROP AS
WITH dice AS (
    SELECT n, power(-ln(1 - random()), 1.7) AS weight, random() AS age, random() AS lasts, random() AS unread,
        random() AS closed, random() AS titled
    FROM generate_series(1, %(conversations)s) AS n
),
shares AS (
    SELECT *, CASE n WHEN %(conversations)s THEN %(shared)s
        ELSE floor(sum(weight) OVER (ORDER BY n) / sum(weight) OVER () * %(shared)s)::int END AS until
    FROM dice
),
lengths AS (
    SELECT *, (1 + until - COALESCE(lag(until) OVER (ORDER BY n), 0) + CASE n WHEN 1 THEN %(hot)s ELSE 0 END)::int AS k,
        now() - interval '1 minute' - CASE n WHEN 1 THEN 0 ELSE power(age, 1.5) END * interval '365 days' AS end_at,
        CASE WHEN n %% 5 = 0 THEN 'email' ELSE 'sms' END AS channel
    FROM shares
)
SELECT n, k, channel, end_at, start_at, pg_temp.uuid_at(start_at, 'conversation ' || n) AS id,
    CASE WHEN unread < 0.03 THEN LEAST(k, 1 + (unread * 100)::int) ELSE 0 END AS unread,
    CASE WHEN n = 1 OR closed < 0.8 THEN 'active' WHEN closed < 0.9 THEN 'archived' ELSE 'closed' END AS status,
    CASE WHEN titled < 0.1 THEN 'Order ' || 100000 + n ELSE '' END AS title,
    CASE channel WHEN 'sms' THEN '+1555000' || 1000 + n %% 20 ELSE 'desk' || n %% 20 || '@example.com' END AS ours,
    CASE channel WHEN 'sms' THEN '+1555' || 1000000 + n ELSE 'person' || n || '@example.net' END AS theirs
FROM lengths CROSS JOIN LATERAL (
    SELECT end_at
        - CASE WHEN n = 1 THEN interval '364 days' WHEN k = 1 THEN interval '0' ELSE lasts * interval '20 days' END
        AS start_at
) AS begun"""

MESSAGES = """
CREATE TEMPORARY TABLE line ON COMMIT DROP AS
SELECT n, i, at, inbound, pg_temp.uuid_at(at, 'message ' || n || ' ' || i) AS id, style,
    CASE WHEN channel = 'email' THEN 'email' WHEN style < 0.04 THEN 'mms' ELSE 'sms' END AS type,
    CASE WHEN inbound THEN 'received' WHEN fate < 0.9 THEN 'delivered' WHEN fate < 0.94 THEN 'sent'
        WHEN fate < 0.965 THEN 'undelivered' WHEN fate < 0.985 THEN 'failed' WHEN fate < 0.99 THEN 'expired'
        WHEN fate < 0.996 THEN 'canceled' WHEN fate < 0.999 THEN 'unresolved' ELSE 'pending' END AS status
FROM (
    SELECT n, i, channel, start_at + (end_at - start_at) * ((i - 1.0) / GREATEST(k - 1, 1)) AS at,
        i > k - unread OR random() < 0.4 AS inbound, random() AS style, random() AS fate
    FROM world CROSS JOIN LATERAL generate_series(1, k) AS i
) AS dice"""

INSERT_CONVERSATIONS = """
INSERT INTO conversations_conversation (
    id, participants_key, participant_from, participant_to, channel_type, type, status, title, metadata, test,
    last_message_at, message_count, unread_count, created_at, updated_at)
SELECT id, channel || ':' || LEAST(ours COLLATE "C", theirs) || '|' || GREATEST(ours COLLATE "C", theirs), ours, theirs,
    channel, 'direct', status, title, '{}', false, end_at, k, unread, start_at, end_at
FROM world ORDER BY start_at"""

INSERT_MESSAGES = """
INSERT INTO conversations_message (
    id, conversation_id, direction, status, type, sender, recipient, subject, body, html, attachments, metadata,
    segments, on_unresolved, request_id, provider, provider_message_id, attempts, next_attempt_at, error_code,
    error_message, send_at, expires_at, sent_at, delivered_at, failed_at, created_at, updated_at)
SELECT line.id, world.id, CASE WHEN inbound THEN 'inbound' ELSE 'outbound' END, line.status, type,
    CASE WHEN inbound THEN theirs ELSE ours END, CASE WHEN inbound THEN ours ELSE theirs END,
    CASE type WHEN 'email' THEN 'Your order ' || 100000 + n ELSE '' END, body,
    CASE type WHEN 'email' THEN '<p>' || body || '</p>' ELSE '' END,
    CASE WHEN type = 'mms' AND NOT inbound THEN '["https://example.com/picture.png"]' ELSE '[]' END::jsonb, '{}',
    CASE type WHEN 'email' THEN NULL ELSE 1 + length(body) / 153 END, '', '',
    CASE type WHEN 'email' THEN 'sendgrid' ELSE 'twilio' END,
    CASE WHEN line.status IN ('received', 'sent', 'delivered', 'undelivered')
        THEN 'SM' || md5(n || ' ' || i) ELSE '' END,
    CASE WHEN line.status IN ('received', 'pending', 'canceled', 'expired') THEN 0 ELSE 1 END,
    CASE line.status WHEN 'pending' THEN far END, COALESCE(error ->> 0, ''), COALESCE(error ->> 1, ''),
    CASE line.status WHEN 'pending' THEN far END,
    CASE WHEN NOT inbound THEN CASE line.status WHEN 'pending' THEN far ELSE at END + interval '1 day' END,
    CASE WHEN line.status IN ('sent', 'delivered', 'undelivered') THEN at + interval '1 second' END,
    CASE line.status WHEN 'delivered' THEN at + interval '3 seconds' END,
    CASE WHEN line.status IN ('failed', 'undelivered') THEN at + interval '3 seconds' END, at,
    LEAST(at + interval '3 seconds', now())
FROM line JOIN world USING (n)
CROSS JOIN LATERAL (
    SELECT now() + (300 + 60 * random()) * interval '1 day' AS far,
        %(errors)s::jsonb -> line.status -> (i %% 2) AS error,
        replace((%(openers)s::text[])[1 + floor(random() * %(opener_count)s)]
        || (%(middles)s::text[])[1 + floor(random() * %(middle_count)s)]
        || CASE WHEN style > 0.7 THEN (%(middles)s::text[])[1 + floor(random() * %(middle_count)s)] ELSE '' END
        || CASE type WHEN 'email'
            THEN repeat((%(middles)s::text[])[1 + floor(random() * %(middle_count)s)], 1 + (4 * style)::int)
            ELSE '' END
        || CASE WHEN n = ANY(%(rare)s) AND i = 1 THEN %(rare_word)s || '. ' ELSE '' END
        || (%(closings)s::text[])[1 + floor(random() * %(closing_count)s)], '{number}', (100000 + n)::text) AS body
) AS written
WHERE at >= now() - (%(slice)s + 1) * %(step)s AND at < now() - %(slice)s * %(step)s
ORDER BY at"""

# A number of a transaction that lies before any that somebody subscribed in.
INSERT_EVENTS = """
INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at, transaction_number)
SELECT id, told.status, told.evidence, told.attempt, '', told.detail, at + told.after, 0
FROM line CROSS JOIN LATERAL (VALUES
    ('received', 'reported', 0, 'Received.', interval '0', inbound),
    ('pending', 'observed', 0, 'Accepted.', interval '0', NOT inbound),
    (line.status, CASE WHEN line.status IN ('delivered', 'undelivered') THEN 'reported' ELSE 'observed' END, 1,
        'The provider says so.', interval '3 seconds', NOT inbound AND line.status <> 'pending')
) AS told (status, evidence, attempt, detail, after, happened)
WHERE told.happened AND at >= now() - (%(slice)s + 1) * %(step)s AND at < now() - %(slice)s * %(step)s
ORDER BY at"""

INSERT_MEDIA = """
INSERT INTO conversations_media (
    id, message_id, number, status, content_type, filename, content_id, source_url, file, size, error, attempts,
    created_at)
SELECT pg_temp.uuid_at(at, 'medium ' || n || ' ' || i), id, 0, 'stored', 'image/png', '', '', '',
    'media/' || id || '/0', 20000, '', 1, at
FROM line WHERE inbound AND type = 'mms'"""


def load(
    connection: "psycopg.Connection[Any]", size: Size, progress: Callable[[str, int], Progress], seed: float = 0.42
) -> None:
    """Fill an empty, migrated database, all or nothing, and bring its statistics up to date.

    `connection` has to be in autocommit. `progress` begins a step by its name and size. Raises `psycopg.Error`.
    """
    with connection.transaction(), set_aside(connection, progress):
        connection.execute("SET LOCAL work_mem = '256MB'")
        connection.execute("SELECT setseed(%s)", [seed])
        connection.execute(MAKE_UUID_AT)
        make_plan(connection, size, progress)
        fill(connection, size, progress)
    with progress("statistics", len(TABLES)) as step:
        for table in TABLES:
            connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(table)))
            step.advance()


def make_plan(connection: "psycopg.Connection[Any]", size: Size, progress: Callable[[str, int], Progress]) -> None:
    """Decide who writes with whom, when, and what becomes of it, in temporary tables."""
    shared = size.messages - size.conversations - size.hot
    counts = {"conversations": size.conversations, "hot": size.hot, "shared": shared}
    with progress("plan", size.messages) as step:
        # The server takes no parameters where it makes a table.
        psycopg.ClientCursor(connection).execute(CONVERSATIONS, counts)
        connection.execute(MESSAGES)
        connection.execute("ANALYZE world, line")
        step.advance(size.messages)


def fill(connection: "psycopg.Connection[Any]", size: Size, progress: Callable[[str, int], Progress]) -> None:
    """Insert what is planned, rows in the order of their time as daily life would."""
    with progress("conversations", size.conversations) as step:
        step.advance(connection.execute(INSERT_CONVERSATIONS).rowcount)
    texts = {
        "openers": OPENERS,
        "opener_count": len(OPENERS),
        "middles": MIDDLES,
        "middle_count": len(MIDDLES),
        "closings": CLOSINGS,
        "closing_count": len(CLOSINGS),
        "rare": [2, size.conversations // 2, size.conversations],
        "rare_word": RARE_WORD,
        "errors": Jsonb(ERRORS),
    }
    insert_slices(connection, INSERT_MESSAGES, texts, progress("messages", size.messages))
    insert_slices(connection, INSERT_EVENTS, {}, progress("their timelines", size.messages * 8 // 5))
    with progress("pictures", 1) as step:
        step.advance(connection.execute(INSERT_MEDIA).rowcount)


def insert_slices(
    connection: "psycopg.Connection[Any]", statement: LiteralString, values: dict[str, Any], progress: Progress
) -> None:
    """Run a statement for each slice of the time, the oldest first."""
    with progress:
        for number in reversed(range(SLICES)):
            limits = {"slice": number, "step": SLICE}
            progress.advance(connection.execute(statement, {**values, **limits}).rowcount)


@contextmanager
def set_aside(connection: "psycopg.Connection[Any]", progress: Callable[[str, int], Progress]) -> Iterator[None]:
    """Be without indexes and foreign keys meanwhile, and make them again as they were: that is much faster."""
    found = connection.execute(SET_ASIDE, {"tables": TABLES}).fetchall()
    for drop, _ in found:
        connection.execute(drop)
    yield
    connection.execute("SET LOCAL maintenance_work_mem = '1GB'")
    with progress("indexes and foreign keys", len(found)) as step:
        for _, make in reversed(found):
            connection.execute(make)
            step.advance()


# Foreign keys first, as they stand on indexes.
SET_ASIDE = """
SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname),
    format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY(%(tables)s::regclass[])
UNION ALL
SELECT format('DROP INDEX %%s', indexrelid::regclass), pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid = ANY(%(tables)s::regclass[])
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))"""
