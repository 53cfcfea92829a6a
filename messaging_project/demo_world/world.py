"""The demo world as rows that are not saved yet: the same for the same seed, count and moment."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any
from uuid import UUID

from conversations.models import Conversation, ConversationEvent, Message, MessageEvent, OptOut
from conversations.models.intervention import life
from conversations.quoted_text import quote_begins
from conversations.segments import segmentation
from messaging_project.demo_world import mails
from messaging_project.demo_world.fates import Line, suffer, timeline
from messaging_project.demo_world.people import Crowd, Person
from messaging_project.demo_world.stories import Story, Turn, read_stories, words
from providers.base import InboundMedia

MARK = "seed_demo"
"""What the metadata of each of its conversations have."""
TOLD_BEFORE_ALL = 0
"""A transaction's number that lies before that of any subscription: nobody is told of these events."""
SPAN = timedelta(weeks=6)
JUST_NOW = timedelta(minutes=2)
BUSINESS_HOURS = (8, 20)
UNDER_WAY = {"pending", "uncertain"}
KNOWN_ALREADY, CALLED_BY_NAME = 0.15, 0.3


@dataclass
class World:
    """Rows, in the order in which they can be saved. `files` are what came with messages, by the message's id."""

    conversations: list[Conversation] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    events: list[MessageEvent] = field(default_factory=list)
    conversation_events: list[ConversationEvent] = field(default_factory=list)
    opt_outs: list[OptOut] = field(default_factory=list)
    files: dict[UUID, InboundMedia] = field(default_factory=dict)


def make_world(seed: int, count: int, now: datetime, *, with_scheduled: bool) -> World:
    """Return a world of so many conversations up to now.

    With `with_scheduled` some messages are still to be sent, by whoever sends in earnest, and some are in doubt.
    """
    author = Author(random.Random(seed), now, with_scheduled=with_scheduled)
    stories = read_stories()
    # Each story once, then as it comes; some of them have only just happened.
    told = [*stories, *author.dice.choices(stories, list(map(frequency, stories)), k=count)]
    for number, story in enumerate(told[:count]):
        author.tell(story, is_recent=number % 10 == 1)
    return author.world


class Author:
    """Tells stories, one after the other."""

    def __init__(self, dice: random.Random, now: datetime, *, with_scheduled: bool) -> None:
        self.dice = dice
        self.now = now
        self.with_scheduled = with_scheduled
        self.world = World()
        self.crowd = Crowd(dice)
        self.people: dict[str, list[Person]] = {}
        self.met: set[tuple[str, str]] = set()

    def tell(self, story: Story, *, is_recent: bool) -> None:
        """Let a story happen to somebody."""
        turns = [turn for turn in story.turns if self.with_scheduled or turn.fate not in UNDER_WAY]
        if not turns:
            return
        person = self._somebody(story)
        times = self._times(story, turns, is_recent=is_recent)
        filled = words(story, person, times[-1], self.dice)
        conversation = self._conversation(story, person, turns[0], times, filled)
        written: list[Message] = []
        for turn, at in zip(turns, times, strict=True):
            written.append(self._message(story, person, conversation, turn, at, filled, written))
        count_messages(conversation, written, is_unread=story.unread)

    def _somebody(self, story: Story) -> Person:
        """Somebody new, or now and then somebody whom this business does not know yet on this channel."""
        known = self.people.setdefault(story.language, [])
        person = self.dice.choice(known) if known and self.dice.random() < KNOWN_ALREADY else None
        if person is None or (story.business.name + story.channel, person.phone) in self.met:
            person = self.crowd.somebody(story.language)
            known.append(person)
        self.met.add((story.business.name + story.channel, person.phone))
        return person

    def _times(self, story: Story, turns: Sequence[Turn], *, is_recent: bool) -> list[datetime]:
        """When each message is accepted, so that all that becomes of them lies before now."""
        offsets = [timedelta()]
        for turn in turns[1:]:
            offsets.append(offsets[-1] + self._pause(story, turn))
        latest = (
            self.now
            - JUST_NOW
            - max(aftermath(turn) - offsets[-1] + at for turn, at in zip(turns, offsets, strict=True))
        )
        end = self._end(latest, is_recent=is_recent or any(turn.fate == "uncertain" for turn in turns))
        return [end - offsets[-1] + at for at in offsets]

    def _pause(self, story: Story, turn: Turn) -> timedelta:
        usual = timedelta(hours=3) if story.channel == "email" else timedelta(minutes=6)
        return (turn.after or usual) * self.dice.uniform(0.8, 1.25)

    def _end(self, latest: datetime, *, is_recent: bool) -> datetime:
        """Within the last minutes and hours, or within business hours of the last weeks."""
        if is_recent:
            return latest - timedelta(minutes=self.dice.expovariate(1 / 40))
        day = latest - SPAN * float(self.dice.random() ** 1.4)
        at = day.replace(hour=self.dice.randrange(*BUSINESS_HOURS), minute=self.dice.randrange(60))
        return at if at <= latest else at - timedelta(days=1)

    def _conversation(
        self, story: Story, person: Person, first: Turn, times: Sequence[datetime], filled: Any
    ) -> Conversation:
        ours, theirs = addresses(story, person)
        conversation = Conversation(
            id=self._uuid(times[0]),
            participant_from=ours if first.is_ours else theirs,
            participant_to=theirs if first.is_ours else ours,
            channel_type=story.channel,
            type=story.type,
            status=self._status(story, times[-1]),
            title=story.title.format(**filled) or (person.name if self.dice.random() < CALLED_BY_NAME else ""),
            metadata={MARK: True, "business": story.business.name},
        )
        conversation.take_key()
        conversation.created_at = times[0]
        self.world.conversations.append(conversation)
        self._note(conversation, ConversationEvent.Kind.CREATED, times[0])
        if conversation.status == Conversation.Status.CLOSED:
            self._note(conversation, ConversationEvent.Kind.CLOSED, times[-1])
        return conversation

    def _status(self, story: Story, end: datetime) -> str:
        is_old = not story.unread and self.now - end > SPAN / 2
        return Conversation.Status.ARCHIVED if is_old and self.dice.random() < 0.3 else story.status

    def _note(self, conversation: Conversation, kind: ConversationEvent.Kind, at: datetime) -> None:
        told = {"at": at, "transaction_number": TOLD_BEFORE_ALL}
        self.world.conversation_events.append(ConversationEvent(conversation=conversation, kind=kind, **told))

    def _message(
        self,
        story: Story,
        person: Person,
        conversation: Conversation,
        turn: Turn,
        at: datetime,
        filled: Any,
        written: Sequence[Message],
    ) -> Message:
        ours, theirs = addresses(story, person)
        message = Message(
            id=self._uuid(at),
            conversation=conversation,
            direction="outbound" if turn.is_ours else "inbound",
            sender=ours if turn.is_ours else theirs,
            recipient=theirs if turn.is_ours else ours,
            type=story.channel if story.channel == "email" or not turn.file else "mms",
            body=turn.text.format(**filled),
            provider="sendgrid" if story.channel == "email" else "twilio",
            created_at=at,
        )
        if story.channel == "email":
            add_mail(message, story, story.subject.format(**filled), written)
        self._add_file(message, turn, filled)
        lines = timeline(turn.fate, is_mail=story.channel == "email", slowness=self.dice.uniform(0.7, 1))
        self._happen(message, lines)
        self._heed(message, turn.fate)
        self.world.messages.append(message)
        return message

    def _add_file(self, message: Message, turn: Turn, filled: Any) -> None:
        if turn.file and turn.is_ours:
            message.attachments = [turn.file.format(**filled)]
        elif turn.file:
            self.world.files[message.id] = mails.attached(turn.file)

    def _happen(self, message: Message, lines: Sequence[Line]) -> None:
        """Let a message have its fate and its timeline."""
        suffer(message, lines)
        is_known_to_provider = message.sent_at is not None or message.status == "received"
        message.provider_message_id = self._provider_id(message) if is_known_to_provider else ""
        if message.type != "email" and is_known_to_provider:
            message.segments = segmentation(message.body).segments
        if message.direction == "outbound":
            self._limit(message, lines)
        self.world.events += [
            MessageEvent(
                message=message,
                status=line.status,
                evidence=line.evidence,
                attempt=line.attempt,
                code=line.code,
                detail=line.detail,
                at=message.created_at + timedelta(seconds=line.after),
                transaction_number=TOLD_BEFORE_ALL,
            )
            for line in lines
        ]

    def _limit(self, message: Message, lines: Sequence[Line]) -> None:
        """Say until when it may be sent; one that waits does so for a morning to come."""
        if message.status == "pending":
            morning = (self.now + timedelta(days=self.dice.randint(1, 20))).replace(hour=9, minute=0, second=0)
            message.send_at = message.next_attempt_at = morning
        message.expires_at = (message.send_at or message.created_at) + life()
        if message.status == "expired":
            message.expires_at = message.created_at + timedelta(seconds=lines[-1].after)

    def _heed(self, message: Message, fate: str) -> None:
        """Let somebody opt out, or in again."""
        ours, theirs = message.sender, message.recipient
        if fate == "stop":
            self._opt_out(message, theirs, ours, OptOut.Source.KEYWORD)
        elif fate == "start":
            held = next(each for each in self.world.opt_outs if each.their_address == ours and each.lifted_at is None)
            held.lifted_at, held.lifted_by = message.created_at, OptOut.Source.KEYWORD
        elif message.status == "undelivered" and message.type == "email":
            self._opt_out(message, ours, theirs, OptOut.Source.BOUNCE)

    def _opt_out(self, message: Message, ours: str, theirs: str, source: OptOut.Source) -> None:
        self.world.opt_outs.append(
            OptOut(
                id=self._uuid(message.updated_at),
                channel_type=message.conversation.channel_type,
                our_address=ours,
                their_address=theirs,
                source=source,
                opted_out_at=message.updated_at,
            )
        )

    def _provider_id(self, message: Message) -> str:
        prefix = {"sms": "SM", "mms": "MM", "email": "demo-"}[message.type]
        return f"{prefix}{self.dice.getrandbits(128):032x}"

    def _uuid(self, at: datetime) -> UUID:
        """An id of version 7 (RFC 9562, 5.7) of that time."""
        milliseconds = int(at.timestamp() * 1000)
        bits = milliseconds << 80 | 7 << 76 | self.dice.getrandbits(12) << 64 | 2 << 62 | self.dice.getrandbits(62)
        return UUID(int=bits)


def frequency(story: Story) -> int:
    """Return how often a story comes again: mostly all goes well, and a doubt does not last."""
    fates = {turn.fate for turn in story.turns}
    if "uncertain" in fates:
        return 0
    return 3 if fates <= {"delivered", "received"} else 1


def addresses(story: Story, person: Person) -> tuple[str, str]:
    """Return our address and theirs on a story's channel."""
    if story.channel == "email":
        return story.business.email, person.email
    return story.business.phone, person.phone


def aftermath(turn: Turn) -> timedelta:
    """Return how long it takes until what becomes of a turn is known."""
    lines = timeline(turn.fate, is_mail=False, slowness=1) if turn.fate != "undelivered:5.1.1" else []
    return timedelta(seconds=max((line.after for line in lines), default=10))


def add_mail(message: Message, story: Story, subject: str, written: Sequence[Message]) -> None:
    """Add what only a mail has: the subject, the headers, HTML, and below an answer what it answers."""
    message.subject = f"Re: {subject}" if written else subject
    message.parent = written[-1] if written else None
    if message.direction == "outbound":
        message.html = mails.our_html(message.body, story.business.name)
        message.take_mail_headers()
        return
    message.message_id_header = f"<{message.id.hex}@mail.{message.sender.partition('@')[2]}>"
    quoted, above = "", ""
    if message.parent:
        parent = message.parent
        message.reference_headers = f"{parent.reference_headers} {parent.message_id_header}".strip()
        quoted = parent.newly_written
        above = mails.introduction(story.language, parent.created_at, f"{story.business.name} <{parent.sender}>")
    message.html = mails.html_with_quote(message.body, quoted, above)
    message.body = mails.with_quote(message.body, quoted, above) if quoted else message.body
    message.quoted_from = quote_begins(message.body)


def count_messages(conversation: Conversation, written: Sequence[Message], *, is_unread: bool) -> None:
    """Let a conversation count its messages; those at its end that came in may be unread."""
    conversation.message_count = len(written)
    conversation.last_message_at = written[-1].created_at
    conversation.updated_at = written[-1].created_at
    conversation.unread_count = len(list(unread(written))) if is_unread else 0


def unread(written: Sequence[Message]) -> Iterator[Message]:
    """Yield the messages at the end that came in since we wrote last."""
    return takewhile(lambda message: message.direction == "inbound", reversed(written))
