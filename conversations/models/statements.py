"""The statements that the ORM can't say in one round trip, in the order of a message's life.

Each is one SQL statement, so each holds wholly or not at all. Rows are locked in the order conversation, then messages
by id, so that no two of them can block each other for ever.
"""

# Whether the rows came from another database (see DatabaseIdentity). It names no row of the question that it stands in,
# so it is answered once for each statement; as a function it costs no planning.
IS_COPY = "conversations_is_copy()"

# Compared by PostgreSQL on both sides, so that one rule of case decides; an index answers it. Whoever opted out and was
# erased since is known by a pseudonym, of which there is one for each key (conversations.pseudonyms).
OPTED_OUT = """EXISTS (
    SELECT FROM conversations_optout AS opt_out
    WHERE opt_out.channel_type = {channel_type} AND opt_out.test = %(test)s AND opt_out.lifted_at IS NULL
      AND lower(opt_out.our_address) = lower({sender})
      AND lower(opt_out.their_address) = {recipient})"""

# Whether it was archived is read as it stood before: of two who archive and wake one at the same moment, the event that
# tells of the second may be missing.
OPEN_CONVERSATION = """
WITH archived AS MATERIALIZED (
    SELECT id FROM conversations_conversation
    WHERE participants_key = %(participants_key)s AND type = 'direct' AND status = 'archived'
),
conversation AS (
    INSERT INTO conversations_conversation AS c (
        id, participants_key, participant_from, participant_to, channel_type, type, status, title, metadata,
        test, last_message_at, message_count, unread_count, created_at, updated_at)
    VALUES (
        %(conversation_id)s, %(participants_key)s, %(sender)s, %(recipient)s, %(channel_type)s, %(conversation_type)s,
        'active', '', '{}', %(test)s, clock_timestamp(), 1, %(unread)s, clock_timestamp(), clock_timestamp())
    ON CONFLICT (participants_key) WHERE type = 'direct' AND status IN ('active', 'archived')
    DO UPDATE SET message_count = c.message_count + 1, unread_count = c.unread_count + %(unread)s, status = 'active',
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    RETURNING id, xmax = 0 AS is_new
)"""

JOIN_CONVERSATION = """
WITH archived AS MATERIALIZED (
    SELECT id FROM conversations_conversation WHERE id = %(joined_conversation_id)s AND status = 'archived'
),
conversation AS (
    UPDATE conversations_conversation AS c
    SET message_count = c.message_count + 1, unread_count = c.unread_count + %(unread)s, status = 'active',
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    WHERE id = %(joined_conversation_id)s AND status <> 'closed'
    RETURNING id, false AS is_new
)"""

# The time is read while the conversation's row is locked: within a conversation, created_at is the order of acceptance
# whichever process, on whichever machine, accepted. To somebody who opted out nothing is sent, as is known at once.
_INSERT_MESSAGES = """
opened AS (
    INSERT INTO conversations_conversationevent (conversation_id, kind, at)
    SELECT id, CASE WHEN is_new THEN 'created' ELSE 'updated' END, clock_timestamp() FROM conversation
    WHERE is_new OR id IN (SELECT id FROM archived)
    RETURNING id
),
message AS (
    INSERT INTO conversations_message (
        id, conversation_id, parent_id, direction, status, type, sender, recipient, subject, body, html, attachments,
        metadata, segments, on_unresolved, request_id, provider, provider_message_id, attempts, next_attempt_at,
        error_code, error_message, send_at, expires_at, failed_at, created_at, updated_at,
        unsubscribe, quoted_from, message_id_header, reference_headers, automatic, batch, test, author_id)
    SELECT
        {id}, conversation_id, {parent_id}, %(direction)s, status, {type}, {sender}, {recipient},
        {subject}, {body}, {html}, {attachments}::jsonb, {metadata}::jsonb, %(segments)s, {on_unresolved},
        %(request_id)s, {provider}, %(provider_message_id)s, 0,
        CASE WHEN status = 'pending' THEN GREATEST({send_at}::timestamptz, at) END,
        CASE WHEN status = 'failed' THEN 'recipient_opted_out' ELSE '' END,
        CASE WHEN status = 'failed' THEN %(opted_out_sentence)s ELSE '' END,
        {send_at}::timestamptz,
        CASE WHEN status <> 'received' THEN COALESCE(
            {expires_at}::timestamptz,
            GREATEST({send_at}::timestamptz, at) + %(expires_after)s::interval) END,
        CASE WHEN status = 'failed' THEN at END,
        at, at,
        {unsubscribe}, %(quoted_from)s, {message_id_header}, {reference_headers}, %(automatic)s, %(batch)s, %(test)s,
        %(author_id)s
    FROM accepted
    RETURNING id, conversation_id, status, next_attempt_at, expires_at, failed_at, error_code, error_message, created_at
),
event AS (
    INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
    SELECT id, status, CASE WHEN status = 'received' THEN 'reported' ELSE 'observed' END, 0, error_code,
        CASE status WHEN 'pending' THEN 'Accepted.' WHEN 'received' THEN 'Received.' ELSE error_message END, created_at
    FROM message CROSS JOIN (SELECT count(*) FROM opened) AS numbered_before
)
SELECT conversation_id, status, next_attempt_at, expires_at, failed_at, error_code, error_message, created_at, id
FROM message"""

# What the messages of a batch differ in, as jsonb_to_recordset reads it.
WISH = {
    "id": "uuid",
    "parent_id": "uuid",
    "type": "text",
    "sender": "text",
    "recipient": "text",
    "subject": "text",
    "body": "text",
    "html": "text",
    "attachments": "jsonb",
    "metadata": "jsonb",
    "on_unresolved": "text",
    "provider": "text",
    "send_at": "timestamptz",
    "expires_at": "timestamptz",
    "unsubscribe": "boolean",
    "message_id_header": "text",
    "reference_headers": "text",
    "conversation_id": "uuid",
    "participants_key": "text",
    "channel_type": "text",
    "place": "integer",
    "pseudonyms": "text[]",
}

INSERT_MESSAGE = (
    """,
accepted AS MATERIALIZED (
    SELECT id AS conversation_id, clock_timestamp() AS at,
        CASE WHEN %(status)s = 'pending' AND {opted_out} THEN 'failed' ELSE %(status)s END AS status
    FROM conversation
),""".replace(
        "{opted_out}",
        OPTED_OUT.format(
            channel_type="%(channel_type)s",
            sender="%(sender)s",
            recipient="ANY(lower(%(recipient)s) || %(pseudonyms)s::text[])",
        ),
    )
    + _INSERT_MESSAGES.format(**{name: f"%({name})s" for name in WISH})
)

# Conversations are locked in the order of their keys, so that no two batches can block each other for ever; the time is
# read when all are, and the place in the batch is the order within a conversation.
_WISHED = """
WITH wish AS MATERIALIZED (SELECT * FROM jsonb_to_recordset(%(wishes)s::jsonb) AS w ({columns})),
archived AS MATERIALIZED (
    SELECT id FROM conversations_conversation
    WHERE participants_key = ANY(ARRAY(SELECT participants_key FROM wish)) AND type = 'direct' AND status = 'archived'
),
conversation AS (
    INSERT INTO conversations_conversation AS c (
        id, participants_key, participant_from, participant_to, channel_type, type, status, title, metadata,
        test, last_message_at, message_count, unread_count, created_at, updated_at)
    SELECT DISTINCT ON (participants_key)
        conversation_id, participants_key, sender, recipient, channel_type, 'direct', 'active', '', '{{}}'::jsonb,
        %(test)s, clock_timestamp(), count(*) OVER (PARTITION BY participants_key), 0,
        clock_timestamp(), clock_timestamp()
    FROM wish ORDER BY participants_key, place
    ON CONFLICT (participants_key) WHERE type = 'direct' AND status IN ('active', 'archived')
    DO UPDATE SET message_count = c.message_count + EXCLUDED.message_count, status = 'active',
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    RETURNING id, participants_key, xmax = 0 AS is_new
),
moment AS MATERIALIZED (SELECT clock_timestamp() AS now FROM (SELECT count(*) FROM conversation) AS locked),
accepted AS MATERIALIZED (
    SELECT {kept}, conversation.id AS conversation_id, moment.now + wish.place * interval '1 microsecond' AS at,
        CASE WHEN {opted_out} THEN 'failed' ELSE 'pending' END AS status
    FROM wish JOIN conversation USING (participants_key) CROSS JOIN moment
    ORDER BY wish.place
),"""
INSERT_BATCH = _WISHED.format(
    columns=", ".join(f"{name} {kind}" for name, kind in WISH.items()),
    kept=", ".join(f"wish.{name}" for name in WISH if name != "conversation_id"),
    opted_out=OPTED_OUT.format(
        channel_type="wish.channel_type",
        sender="wish.sender",
        recipient="ANY(lower(wish.recipient) || wish.pseudonyms)",
    ),
) + _INSERT_MESSAGES.format(**{name: name for name in WISH})

# Both looks at the line and the row locks see one snapshot, which is what keeps two workers out of one conversation
# without locking it: the earliest due message is the only one of its line that any worker can see as free. The one gap,
# an earlier message that falls due between two snapshots, is closed by a unique index.
# After a large batch the planner still counts with what was there before, takes every way for the cheapest, and joined
# 20,000 due messages with each other for minutes. OFFSET 0, LIMIT 1, IS TRUE and ANY leave it one way: each due message
# in its order, for each the head of its line, and the free ones by their ids.
CLAIM = """
WITH free AS MATERIALIZED (
    SELECT id, provider AS planned FROM conversations_message AS due
    WHERE due.status = 'pending' AND {which} AND due.test = %(test)s AND NOT {copy}
      AND due.next_attempt_at <= statement_timestamp()
      AND (due.expires_at > COALESCE(%(as_of)s::timestamptz, statement_timestamp())) IS TRUE
      AND NOT EXISTS (
        SELECT FROM conversations_message AS busy
        WHERE busy.conversation_id = due.conversation_id AND busy.type = due.type AND busy.status = 'sending'
        OFFSET 0)
      AND due.id = (
        SELECT id FROM conversations_message AS first
        WHERE first.conversation_id = due.conversation_id AND first.type = due.type AND first.status = 'pending'
          AND (first.next_attempt_at <= statement_timestamp()
            AND first.expires_at > COALESCE(%(as_of)s::timestamptz, statement_timestamp())) IS TRUE
        ORDER BY first.created_at, first.id LIMIT 1)
    ORDER BY due.batch, due.next_attempt_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
claimed AS (
    UPDATE conversations_message AS message
    SET status = 'sending', attempts = attempts + 1, next_attempt_at = NULL,
        provider = CASE WHEN provider = ANY(%(accounts)s) THEN provider ELSE (%(accounts)s::text[])[1] END,
        lease_expires_at = statement_timestamp() + %(lease)s, updated_at = statement_timestamp()
    WHERE id = ANY(ARRAY(SELECT id FROM free))
    RETURNING message.*, {opted_out} AS recipient_opted_out,
        (SELECT planned FROM free WHERE free.id = message.id) AS planned
),
event AS (
    INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
    SELECT id, 'failover', 'observed', attempts, COALESCE(%(reasons)s::jsonb #>> ARRAY[planned, 'code'], ''),
        left(COALESCE(planned || ' is stopped: ' || (%(reasons)s::jsonb #>> ARRAY[planned, 'sentence']),
            'This attempt is not for ' || planned || '.') || ' ' || provider || ' is tried.', 500),
        statement_timestamp()
    FROM claimed WHERE provider <> planned
)
SELECT * FROM claimed"""

_CLAIMED_OPTED_OUT = OPTED_OUT.format(
    channel_type="CASE message.type WHEN 'email' THEN 'email' ELSE 'sms' END",
    sender="message.sender",
    recipient="lower(message.recipient)",
)
CLAIM_DUE = CLAIM.format(which="due.type = %(channel)s", opted_out=_CLAIMED_OPTED_OUT, copy=IS_COPY)
CLAIM_ONE = CLAIM.format(which="due.id = %(id)s", opted_out=_CLAIMED_OPTED_OUT, copy=IS_COPY)

# An acceptance that a callback outran moves nothing, and still brings what only it knows. An outcome that gives its
# attempt back does so only under the lease it was claimed with: the number may be somebody else's by now. Why it was
# given back is said once, however many probes the message has been since.
RECORD_OUTCOMES = """
WITH outcome AS (
    SELECT * FROM unnest(
        %(ids)s::uuid[], %(attempts)s::int[], %(statuses)s::text[], %(provider_message_ids)s::text[],
        %(segments)s::int[], %(error_codes)s::text[], %(error_messages)s::text[], %(next_accounts)s::text[],
        %(retry_in)s::float[], %(unspent_leases)s::timestamptz[])
    AS o (id, attempt, status, provider_message_id, segments, error_code, error_message, next_account, retry_in,
        unspent_lease)
),
allowed AS (SELECT * FROM unnest(%(moves_from)s::text[], %(moves_to)s::text[]) AS a (from_status, to_status)),
held AS MATERIALIZED (
    SELECT m.id FROM conversations_message AS m JOIN outcome USING (id) ORDER BY m.id FOR UPDATE OF m
),
moved AS (
    UPDATE conversations_message AS m
    SET status = o.status, lease_expires_at = NULL, updated_at = statement_timestamp(),
        settle_at = CASE WHEN o.status = 'uncertain' THEN m.lease_expires_at + %(settle)s END,
        settle_by = CASE WHEN o.status = 'uncertain' THEN m.lease_expires_at + %(settle)s + %(deadline)s END,
        looks = 0,
        report_due_at = CASE WHEN o.status = 'sent' THEN statement_timestamp() + %(report_after)s END,
        attempts = CASE WHEN o.unspent_lease IS NULL THEN m.attempts ELSE m.attempts - 1 END,
        next_attempt_at = CASE
            WHEN o.status = 'pending' THEN statement_timestamp() + o.retry_in * interval '1 second' END,
        provider = COALESCE(NULLIF(o.next_account, ''), m.provider),
        provider_message_id = COALESCE(NULLIF(o.provider_message_id, ''), m.provider_message_id),
        segments = COALESCE(o.segments, m.segments),
        sent_at = CASE WHEN o.status = 'sent' THEN statement_timestamp() ELSE m.sent_at END,
        failed_at = CASE WHEN o.status = 'failed' THEN statement_timestamp() ELSE m.failed_at END,
        error_code = o.error_code, error_message = o.error_message
    FROM outcome AS o JOIN held ON held.id = o.id
    WHERE m.id = o.id AND m.attempts = o.attempt AND (m.status, o.status) IN (SELECT * FROM allowed)
      AND (o.unspent_lease IS NULL OR m.lease_expires_at = o.unspent_lease)
    RETURNING m.id, o.status, o.attempt, o.error_code, o.error_message, o.next_account, o.unspent_lease
),
outrun AS (
    UPDATE conversations_message AS m
    SET segments = COALESCE(m.segments, o.segments),
        provider_message_id = COALESCE(NULLIF(m.provider_message_id, ''), o.provider_message_id)
    FROM outcome AS o JOIN held ON held.id = o.id
    WHERE m.id = o.id AND m.attempts = o.attempt AND o.status = 'sent'
      AND (m.status, o.status) NOT IN (SELECT * FROM allowed)
    RETURNING m.id
),
event AS (
    INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
    SELECT id, status, 'observed', attempt, error_code,
        CASE WHEN status = 'sent' THEN 'The provider accepted it.'
             WHEN next_account <> '' THEN left(error_message || ' ' || next_account || ' is tried next.', 500)
             ELSE error_message END,
        statement_timestamp()
    FROM moved
    WHERE unspent_lease IS NULL OR status <> 'pending' OR error_code <> '' AND NOT EXISTS (
        SELECT FROM conversations_messageevent AS said
        WHERE said.message_id = moved.id AND said.attempt = moved.attempt AND said.code = moved.error_code)
)
SELECT id FROM moved UNION ALL SELECT id FROM outrun"""

# What a report may change of a message, and a line of a timeline, as jsonb_to_recordset reads them.
CHANGED_BY_REPORTS = {
    "status": "text",
    "provider_message_id": "text",
    "next_attempt_at": "timestamptz",
    "lease_expires_at": "timestamptz",
    "settle_at": "timestamptz",
    "report_due_at": "timestamptz",
    "error_code": "text",
    "error_message": "text",
    "sent_at": "timestamptz",
    "delivered_at": "timestamptz",
    "failed_at": "timestamptz",
    "updated_at": "timestamptz",
}
LINE = {
    "place": "integer",
    "message_id": "uuid",
    "status": "text",
    "attempt": "integer",
    "code": "text",
    "detail": "text",
}

# A statement of its own, so that the next one sees every line that others wrote before the locks were ours.
LOCK_REPORTED_ON = """
SELECT id, {columns}
FROM conversations_message
WHERE direction = 'outbound' AND id = ANY(%(ids)s::uuid[] || ARRAY(
    SELECT id FROM unnest(%(accounts)s::text[], %(provider_ids)s::text[]) AS told (account, provider_id)
    JOIN conversations_message AS m ON m.provider = account AND m.provider_message_id = provider_id
    WHERE m.provider_message_id <> ''))
ORDER BY id FOR UPDATE""".replace(
    "{columns}",
    ", ".join((*CHANGED_BY_REPORTS, "attempts", "provider", "sender", "recipient", "type", "test", "redacted_at")),
)

# ANY and OFFSET 0 leave the planner one way, by the ids of the messages: where it counts with tables as small as they
# were before, it would read all messages and all timelines instead.
_RECORD = """
WITH reported AS MATERIALIZED (SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id uuid, {columns})),
changed AS (
    UPDATE conversations_message AS m SET {changes}
    FROM reported AS r WHERE m.id = r.id AND m.id = ANY(ARRAY(SELECT id FROM reported))
)
INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail)
SELECT message_id, status, 'reported', attempt, code, detail
FROM jsonb_to_recordset(%(lines)s::jsonb) AS line ({line})
WHERE NOT EXISTS (
    SELECT FROM conversations_messageevent AS said
    WHERE said.message_id = line.message_id AND said.status = line.status AND said.attempt = line.attempt
      AND said.evidence = 'reported' AND said.code = line.code
    OFFSET 0)
ORDER BY place"""
RECORD_REPORTS = _RECORD.format(
    changes=", ".join(f"{name} = r.{name}" for name in CHANGED_BY_REPORTS),
    columns=", ".join(f"{name} {kind}" for name, kind in CHANGED_BY_REPORTS.items()),
    line=", ".join(f"{name} {kind}" for name, kind in LINE.items()),
)

DOUBT_EXPIRED_LEASES = """
WITH late AS MATERIALIZED (
    SELECT id FROM conversations_message WHERE status = 'sending' AND lease_expires_at <= statement_timestamp()
    ORDER BY lease_expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
),
moved AS (
    UPDATE conversations_message AS m
    SET status = 'uncertain', error_code = 'lease_expired', updated_at = statement_timestamp(),
        settle_at = m.lease_expires_at + %(settle)s, settle_by = m.lease_expires_at + %(settle)s + %(deadline)s,
        looks = 0, lease_expires_at = NULL,
        error_message = 'The worker was lost while it held this message: it may have been sent.'
    FROM late WHERE m.id = late.id
    RETURNING m.id, m.attempts, m.error_code, m.error_message
)
INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
SELECT id, 'uncertain', 'assumed', attempts, error_code, error_message, statement_timestamp() FROM moved"""

# What waited when the backup was made may have been sent since: by one more attempt than the row knows of, so that this
# one's reports find it. What is scheduled for a time that is still to come was not.
DOUBT_RESTORED = """
WITH waiting AS MATERIALIZED (
    SELECT id FROM conversations_message
    WHERE status = 'pending' AND next_attempt_at IS NOT NULL AND (send_at IS NULL OR send_at <= statement_timestamp())
       OR status = 'sending' AND lease_expires_at IS NOT NULL
    LIMIT %(limit)s FOR UPDATE
),
moved AS (
    UPDATE conversations_message AS m
    SET status = 'uncertain', attempts = CASE m.status WHEN 'pending' THEN m.attempts + 1 ELSE m.attempts END,
        next_attempt_at = NULL, lease_expires_at = NULL, updated_at = statement_timestamp(),
        settle_at = statement_timestamp(), settle_by = statement_timestamp() + %(deadline)s, looks = 0,
        error_code = 'restored',
        error_message = 'It came from a backup, where it was not sent yet: it may have been sent since.'
    FROM waiting WHERE m.id = waiting.id
    RETURNING m.id, m.attempts, m.error_code, m.error_message
)
INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
SELECT id, 'uncertain', 'assumed', attempts, error_code, error_message, statement_timestamp() FROM moved"""

OPT_OUTS_BY_PSEUDONYM = """
SELECT channel_type, lower(our_address), their_address, test FROM conversations_optout
WHERE their_address = ANY(%(names)s) AND their_address LIKE 'redacted:%%' AND lifted_at IS NULL"""

EXPIRE_OVERDUE = """
WITH overdue AS MATERIALIZED (
    SELECT id FROM conversations_message AS m
    WHERE status = 'pending' AND type = %(channel)s AND test = %(test)s
      AND expires_at <= COALESCE(%(as_of)s::timestamptz, statement_timestamp())
    ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
),
moved AS (
    UPDATE conversations_message AS m
    SET status = 'expired', next_attempt_at = NULL, updated_at = statement_timestamp(),
        error_code = CASE WHEN m.error_code = '' THEN 'expired' ELSE m.error_code END,
        error_message = CASE WHEN m.error_code = '' THEN 'Its time ran out before it could be sent.'
                             ELSE m.error_message END
    FROM overdue WHERE m.id = overdue.id
    RETURNING m.id, m.attempts, m.error_code
)
INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
SELECT id, 'expired', 'observed', attempts, error_code, 'Its time ran out before it could be sent.',
    statement_timestamp()
FROM moved"""

# A message waited from when it could have gone: what it spent before, or was told to wait, is no time lost.
WAKE = """
WITH waiting AS MATERIALIZED (
    SELECT id FROM conversations_message
    WHERE status IN ('pending', 'sending', 'uncertain') AND type = %(channel)s AND test = %(test)s AND (
        expires_at > %(stopped_at)s::timestamptz
        OR error_code = ANY(%(unreachable)s) AND next_attempt_at > statement_timestamp())
    ORDER BY id FOR UPDATE
)
UPDATE conversations_message AS m
SET updated_at = statement_timestamp(),
    next_attempt_at = CASE WHEN status = 'pending' AND error_code = ANY(%(unreachable)s)
        THEN LEAST(next_attempt_at, statement_timestamp()) ELSE next_attempt_at END,
    expires_at = CASE WHEN expires_at > %(stopped_at)s::timestamptz
        THEN expires_at + GREATEST(
            statement_timestamp() - GREATEST(%(stopped_at)s::timestamptz, created_at, send_at), interval '0')
        ELSE expires_at END
FROM waiting WHERE m.id = waiting.id"""

# Coming due again is written before the provider is asked, so that nobody else asks meanwhile and no crash loses one.
# Time in which nobody looked, such as while all of this was down, is not time in which a doubt could have been settled.
TAKE_DOUBTS = """
UPDATE conversations_message AS message
SET settle_at = statement_timestamp() + %(gap)s,
    settle_by = settle_by + (statement_timestamp() - settle_at)
FROM (
    SELECT id FROM conversations_message WHERE status = 'uncertain' AND settle_at <= statement_timestamp()
    ORDER BY settle_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) AS due
WHERE message.id = due.id
RETURNING message.*"""

TAKE_OVERDUE_REPORTS = """
UPDATE conversations_message AS message
SET report_due_at = (
    SELECT min(message.sent_at + step) FROM unnest(%(steps)s::interval[]) AS step
    WHERE message.sent_at + step > statement_timestamp())
FROM (
    SELECT id FROM conversations_message WHERE status = 'sent' AND report_due_at <= statement_timestamp()
    ORDER BY report_due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) AS due
WHERE message.id = due.id
RETURNING message.*"""
