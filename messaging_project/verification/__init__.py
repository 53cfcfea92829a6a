"""`manage.py verify_queue`: does a running system really queue, work and hear back? Asked from outside, over HTTP and
the broker, with messages that go to the sandbox and nowhere else.
"""


class CannotVerify(Exception):
    """The checks could not be made, for a reason that says nothing about the queue; its text says what to do."""
