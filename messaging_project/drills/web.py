"""The web process that is killed between its commit and the ring, and clients that ask for the same thing at once."""

import os
import signal

from messaging_project.drills.ground import NO_ANSWER, Ground, drill

RATE = 15.0
REQUESTS_PER_KEY = 60
# A client whose request is cut off does not know what became of it, and asks again with the same key.
CUT_OFF = (NO_ANSWER,)


@drill("web-kill", short=True, answers=CUT_OFF)
def web_kill(ground: Ground) -> None:
    """The web process is killed while its requests are committed and wait for a frozen Redis to take their rings."""
    with ground.client.load(RATE, with_keys=True):
        for attempt in range(3):
            ground.wait(4)
            with ground.fault():
                kill_before_the_ring(ground, attempt)


def kill_before_the_ring(ground: Ground, attempt: int) -> None:
    """Freeze Redis, so that a ring takes a second; kill the web process within it; thaw Redis."""
    process = ground.stack.valkey.process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        ground.wait(0.2 + ground.dice.random() / 2)
        ground.stack.kill("web")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    ground.client.burst(10, keys=[f"burst-{attempt}-{number}" for number in range(10)])


@drill("one-key", short=True)
def one_key(ground: Ground) -> None:
    """60 parallel posts with one key and one body make one message, and all learn its id."""
    with ground.client.load(RATE), ground.fault():
        for kind in ("sms", "mms", "email"):
            ground.wait(5)
            posts = ground.client.burst(
                REQUESTS_PER_KEY, keys=[f"one-{kind}"] * REQUESTS_PER_KEY, wish=ground.client.wishes.next(kind)
            )
            ids = {post.message_id for post in posts}
            ground.expect(f"one key makes one message, not {len(ids)}", len(ids) == 1)
            answers = sorted({post.status or 0 for post in posts})
            ground.expect(f"a key is answered 201 once and then 200, not {answers}", answers in ([200, 201], [201]))
