"""Sending many messages in one request."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

from django.conf import settings
from django.db import OperationalError, transaction
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations import tasks
from conversations.api import idempotency
from conversations.api.fields import Shape, flattened
from conversations.api.messages import represent
from conversations.api.parsing import BatchJSONParser
from conversations.api.send import SendRequest, hand_over, outbound
from conversations.models import Conversation, Message
from conversations.models.client import Scope

MOST_MESSAGES = 1_000
# Each wakes a thread of a worker, and whoever is awake takes along everything due.
RINGS_FOR_A_BATCH = 4
DEADLOCK_DETECTED = "40P01"
MOST_TRIES = 3

Row = Message | list[dict[str, Any]]
"""What a message of a batch became: itself, or the errors that it has."""


class BatchView(APIView):
    """Accepts up to 1,000 messages; each is judged alone."""

    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.MESSAGES_SEND}
    parser_classes = (BatchJSONParser,)

    def post(self, request: Request) -> Response:
        """Answer 207 with a result for each message, in their order. By then those that could be are committed.

        With an Idempotency-Key that made a batch before: 200 with its messages, as they stand now.
        """
        key, client = idempotency.key_of(request), cast(Any, request.user)
        if key and (made := idempotency.results_before(client, key, request.data)) is not None:
            return Response({"results": replayed(made)}, headers=idempotency.REPLAYED)
        rows = judged(request)

        def make() -> list[Any] | None:
            if not key:
                accept(rows)
                return None
            return idempotency.make_batch_once(client, key, request.data, lambda: remembered(accept(rows)))

        made = tried_again(make)
        if made is not None:
            return Response({"results": replayed(made)}, headers=idempotency.REPLAYED)
        return Response({"results": [result(row) for row in handed_over(rows)]}, status=207)


def judged(request: Request) -> list[Row]:
    """Return an unsaved message for each that was asked for, or its errors. Raises `ValidationError` for no list."""
    wishes = messages_of(request.data)
    judge = SendRequest(context={"client": request.user})
    rows: list[Row] = []
    for place, wish in enumerate(wishes):
        try:
            values = dict(judge.run_validation(wish))
        except ValidationError as error:
            rows.append(list(flattened(error.detail, ("body", "messages", place))))
            continue
        conversation_type = values.pop("conversation_type")
        message = outbound(values, request.user, request.request_id)  # type: ignore[attr-defined]
        message.opens_thread = conversation_type == Conversation.Type.THREAD
        rows.append(message)
    return rows


def messages_of(body: Any) -> list[Any]:
    """Return the list in a batch's body. Raises `ValidationError`."""
    Shape.refuse_unknown(body, ("messages",), wanted='a JSON object, {"messages": […]}')
    wishes = body.get("messages")
    if not isinstance(wishes, list) or not wishes:
        raise ValidationError({"messages": [ErrorDetail("Give a list of messages.", "required")]})
    if len(wishes) > MOST_MESSAGES:
        text = f"A batch has at most {MOST_MESSAGES:,} messages."
        raise ValidationError({"messages": [ErrorDetail(text, "too_many_messages")]})
    return wishes


@transaction.atomic
def accept(rows: Sequence[Row]) -> Sequence[Row]:
    """Insert the messages among these, together or not at all, and return the rows.

    Those that answer a message or open a thread of their own go one by one.
    """
    messages = [row for row in rows if isinstance(row, Message)]
    alike = [each for each in messages if not each.parent and not each.opens_thread]
    if alike:
        Message.objects.accept_batch(alike)
    for message in messages:
        if message.parent or message.opens_thread:
            message.batch = True
            kind = Conversation.Type.THREAD if message.opens_thread else Conversation.Type.DIRECT
            Message.objects.accept(message, conversation_type=kind)
    return rows


def tried_again(make: Callable[[], list[Any] | None]) -> list[Any] | None:
    """Do it again where the database chose this one to end a deadlock, a few times."""
    for last in (*[False] * (MOST_TRIES - 1), True):
        try:
            return make()
        except OperationalError as error:
            if last or getattr(error.__cause__, "sqlstate", "") != DEADLOCK_DETECTED:
                raise
    raise AssertionError("unreachable")


def handed_over(rows: Sequence[Row]) -> list[Row]:
    """Ring for the messages among these that are due, or send them here and now; return all as they stand then."""
    if settings.SYNC_MESSAGE_PROCESSING:
        return [hand_over(row) if isinstance(row, Message) else row for row in rows]
    for channel in Message.Type.values:
        due = [row for row in rows if isinstance(row, Message) and row.type == channel and row.is_due_at_once]
        for message in due[:RINGS_FOR_A_BATCH]:
            tasks.ring(message)
    return list(rows)


def remembered(rows: Sequence[Row]) -> list[Any]:
    """Return what is kept of a batch: for each message its id, or its errors."""
    return [str(row.id) if isinstance(row, Message) else row for row in rows]


def replayed(kept: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the results of a batch that was made before, its messages as they stand now."""
    found = {str(each.pk): each for each in Message.objects.filter(pk__in=[each for each in kept if is_id(each)])}
    return [result(found.get(each) if is_id(each) else each) for each in kept]


def is_id(kept: Any) -> bool:
    """Say whether a message was made."""
    return isinstance(kept, str)


def result(row: Row | None) -> dict[str, Any]:
    """Return the result of one message as the API shows it; None is one that was deleted since."""
    match row:
        case Message():
            return {"status": 201, "message": represent(row)}
        case None:
            return {"status": 410, "errors": []}
    return {"status": 422, "errors": row}
