"""Senders that may send so many messages a second, and are asked for more."""

from messaging_project.drills.books import Entry, most_in_a_second
from messaging_project.drills.ground import Ground, drill
from messaging_project.drills.ledgers import entries
from messaging_project.drills.load import OUR_NUMBER
from messaging_project.drills.stack import SHORT_TIMES
from messaging_project.local.processes import wait_until

RATE, ASKED_RATE, ASKED_SECONDS = 5, 15.0, 8.0
# What a sender has not used for a second it may make good in the next.
MOST_IN_A_SECOND = 2 * RATE + 1
SENT_WITHIN_SECONDS = 30.0

NOW = "SELECT clock_timestamp()"
REPEATED = "SELECT count(*) FROM conversations_message WHERE created_at >= %s AND attempts <> 1"


@drill("pace", settings={**SHORT_TIMES, "SENDER_RATES": f"long_code={RATE}"}, within=SENT_WITHIN_SECONDS)
def pace(ground: Ground) -> None:
    """For one sender three times as many texts are posted as it may send: they wait for their turns."""
    [[began]] = ground.stack.rows(NOW)
    with ground.fault(), ground.client.load(ASKED_RATE, kind="sms"):
        ground.wait(ASKED_SECONDS)

    def sent() -> list[Entry]:
        return [entry for entry in entries(ground.stack.carriers, began) if entry.sender == OUR_NUMBER]

    wait_until(lambda: len(sent()) >= len(ground.client.accepted), seconds=SENT_WITHIN_SECONDS, pause=0.5)
    ground.hold("texts of one sender in one second", most_in_a_second(entry.at for entry in sent()), MOST_IN_A_SECOND)
    [[repeated]] = ground.stack.rows(REPEATED, began)
    ground.expect(f"to wait for one's turn costs no attempt: {repeated} messages have another number", not repeated)
