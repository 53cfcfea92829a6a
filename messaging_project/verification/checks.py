"""The checks, in the order in which they are made; each says in a sentence what was seen or what is wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from conversations.tasks import RINGS_ENOUGH
from messaging_project.local.processes import wait_until
from messaging_project.verification.broker import Broker
from messaging_project.verification.system import CHANNELS, System

PATIENCE_SECONDS = 30.0
RING_SECONDS = 5.0
CLEAN_UP_SECONDS = 20.0
WAITING = ("pending", "sending")
SYNCHRONOUS = "the web process called the provider itself. Set SYNC_MESSAGE_PROCESSING=false and restart it"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    name: str
    passed: bool
    sentence: str


class Verification:
    """All checks against one system and its broker. `write_to_us` lets the recipient's phone write to the sender, and
    returns the status that the door answered; None where that can't be done from here.
    """

    def __init__(self, system: System, broker: Broker, write_to_us: Callable[[System], int | None]) -> None:
        self.system = system
        self.broker = broker
        self.write_to_us = write_to_us
        self.sent: dict[str, str] = {}
        self.synchronous = False

    def run(self) -> Iterator[Finding]:
        """Make the checks one by one. Raises `CannotVerify`."""
        self.workers = self.broker.workers()
        with self.broker.hold("sms", self.workers["sms"]):
            answered = self.send("sms")
            self.synchronous = answered["status"] not in WAITING
            yield self.synchronous_disabled(answered)
            yield self.queued()
            yield self.asynchronous(answered)
        yield self.processed()
        for channel in ("mms", "email"):
            self.send(channel)
        yield self.consumed()
        yield self.webhooks()
        yield self.several_conversations()
        yield self.queue_operations()

    def send(self, channel: str) -> dict[str, Any]:
        """Send a test message and keep its id."""
        answered = self.system.send(channel)
        self.sent[channel] = answered["id"]
        return answered

    def clean_up(self) -> str:
        """Delete all that was made, rings included; what could not be, in a sentence, else ""."""
        left = self.system.clean_up(seconds=CLEAN_UP_SECONDS)
        self.broker.remove_rings(CHANNELS, list(self.sent.values()))
        return f"{len(left)} test conversations could not be deleted; the next run does it." if left else ""

    def synchronous_disabled(self, answered: dict[str, Any]) -> Finding:
        """The answer comes before the message is sent."""
        sentence = f"the answer said `{answered['status']}`"
        return Finding(
            "Synchronous processing disabled",
            not self.synchronous,
            sentence if not self.synchronous else f"{sentence}: {SYNCHRONOUS}",
        )

    def queued(self) -> Finding:
        """A ring for the message lies in its queue while the workers are held."""
        name, ours = "Message queued to Redis", self.sent["sms"].encode()
        if self.synchronous:
            return Finding(name, False, f"nothing was queued: {SYNCHRONOUS}")
        lies_there = wait_until(lambda: any(ours in ring for ring in self.broker.rings("sms")), seconds=RING_SECONDS)
        rings = len(self.broker.rings("sms"))
        if lies_there:
            return Finding(name, True, f"the list of queue `sms` grew to {rings} and names the message")
        if rings >= RINGS_ENOUGH:
            return Finding(name, True, f"{rings} rings lie in queue `sms`; from {RINGS_ENOUGH} on none is added")
        return Finding(
            name, False, "the list of queue `sms` does not name the message: does the web process use this broker?"
        )

    def asynchronous(self, answered: dict[str, Any]) -> Finding:
        """The answer says `pending`, and as long as the workers are held it stays so."""
        now = self.system.message(self.sent["sms"])
        untouched = answered["status"] == now.get("status") == "pending" and not now.get("attempts")
        name = "Asynchronous mode"
        if untouched:
            held = self.workers["sms"]
            whom = f"while {', '.join(held)} was held" if held else "as there is no worker"
            return Finding(name, True, f"answered `pending`, and no provider was called {whom}")
        if self.synchronous:
            return Finding(name, False, f"answered `{answered['status']}`: {SYNCHRONOUS}")
        return Finding(name, False, f"it was `{now.get('status')}` though all workers of `sms` were held: who sent it?")

    def processed(self) -> Finding:
        """The worker takes up what lay there before it came back."""
        name = "Worker processed the message that was queued before it started"
        if self.synchronous:
            return Finding(name, False, f"no worker had anything to do: {SYNCHRONOUS}")
        trouble = self.trouble_of("sms")
        return Finding(name, not trouble, trouble or f"`{self.system.message(self.sent['sms']).get('status')}`")

    def consumed(self) -> Finding:
        """Each channel has a worker that sends."""
        name = "sms, mms and email all consumed"
        if self.synchronous:
            return Finding(name, False, f"no queue was used: {SYNCHRONOUS}")
        alone = self.without_worker()
        troubles = [no_worker(alone)] if alone else []
        troubles += [trouble for channel in CHANNELS if channel not in alone and (trouble := self.trouble_of(channel))]
        return Finding(name, not troubles, "; ".join(troubles) or "each was taken from its queue and sent")

    def without_worker(self) -> list[str]:
        """The channels whose queue nobody takes from."""
        return [channel for channel in CHANNELS if not self.workers[channel]]

    def trouble_of(self, channel: str) -> str:
        """Why a message was not sent, "" once it was."""
        if not self.workers[channel]:
            return no_worker([channel])
        message_id = self.sent[channel]
        wait_until(lambda: self.system.message(message_id).get("status") not in WAITING, seconds=PATIENCE_SECONDS)
        message = self.system.message(message_id)
        if message.get("status") in ("sent", "delivered"):
            return ""
        if message.get("status") in WAITING:
            return f"the {channel} is still `{message['status']}` after {PATIENCE_SECONDS:g} s{self.stopped_accounts()}"
        return f"the {channel} is `{message.get('status')}`: {message.get('error_code')} {message.get('error_message')}"

    def stopped_accounts(self) -> str:
        """What /health says of accounts that take nothing now."""
        accounts = self.system.health().get("providers", {})
        stopped = [
            f"{name} is {state['status']} ({state.get('reason')})"
            for name, state in accounts.items()
            if name != "status" and state["status"] != "running"
        ]
        return f": {', '.join(stopped)}" if stopped else ""

    def webhooks(self) -> Finding:
        """What was sent is reported as delivered by signed callbacks."""
        name = "Webhook integration"

        def unreported() -> list[str]:
            return [
                each for each, message_id in self.sent.items() if not self.system.is_reported(message_id, "delivered")
            ]

        alone = [] if self.synchronous else self.without_worker()
        if alone:
            return Finding(name, False, f"not everything was sent, and so not reported: {no_worker(alone)}")
        wait_until(lambda: not unreported(), seconds=PATIENCE_SECONDS)
        missing = unreported()
        if missing:
            return Finding(
                name,
                False,
                f"no callback reported {', '.join(missing)} as delivered: can the sandbox reach the web process"
                " (SANDBOX_DELIVER_TO, PUBLIC_URL)?",
            )
        return Finding(name, True, "callbacks reported the sms, mms and email as delivered")

    def several_conversations(self) -> Finding:
        """With two open conversations between the same two, sending and receiving both find one."""
        name = "Several conversations between the same two"
        self.system.send("sms", conversation_type="thread")
        self.system.send("sms")
        status = self.write_to_us(self.system)
        found = list(self.system.of_participant(self.system.phone))
        if status is not None and status != 200:
            return Finding(
                name, False, f"with {len(found)} of them the door answered {status} to what was written to us"
            )
        if len(found) < 2:
            return Finding(name, False, f"there should be two, and there are {len(found)}")
        if status is None:
            return Finding(name, True, f"{len(found)} of them; no sandbox can be reached from here to write to us")
        received = self.system.ask("GET", f"/api/v1/messages/?direction=inbound&from=%2B{self.system.phone[1:]}").json
        if received["total"] != 1:
            return Finding(name, False, f"what was written to us was kept {received['total']} times")
        return Finding(name, True, f"{len(found)} of them, and what was written to us came into one")

    def queue_operations(self) -> Finding:
        """The broker lets us put in, count and take out, and throws nothing away."""
        name = "Queue operations"
        if trouble := self.broker.take_part():
            return Finding(name, False, trouble)
        if policy := self.broker.evicts():
            return Finding(name, False, f"Redis throws away rings when it is full ({policy}): use noeviction")
        return Finding(name, True, "an entry was put in, counted and taken out")


def no_worker(channels: list[str]) -> str:
    """What is wrong when nobody takes from the queues of these channels, and what to do."""
    command = f"celery -A messaging_project worker -Q {','.join(channels)}"
    return f"no worker consumes {', '.join(channels)}: start one (`make start-worker`; elsewhere `{command}`)"
