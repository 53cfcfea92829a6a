"""What would become of a message, without sending it."""

from typing import Any, ClassVar, cast

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations.api.send import SendRequest
from conversations.models import OptOut
from conversations.models.client import Scope
from conversations.models.conversation import channel_type_of
from conversations.segments import segmentation
from providers import breaker, routes
from providers.base import Channel


class PreviewView(APIView):
    """Answers what a send would meet. Nothing is written, and no provider is asked."""

    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.MESSAGES_READ}

    def post(self, request: Request) -> Response:
        """Answer 200; the same body that a send refuses is refused here for the same reasons."""
        body = SendRequest(data=request.data, context={"client": request.user})
        body.is_valid(raise_exception=True)
        values = body.validated_data
        test = cast(Any, request.user).test
        provider, reason = carrier(values["type"], test=test)
        channel_type = channel_type_of(values["type"])
        pair = OptOut.objects.between(channel_type, values["sender"], values["recipient"], test=test)
        return Response(
            {
                "type": values["type"],
                **counted(values["type"], values["body"]),
                "provider": provider,
                "reason": reason,
                "opted_out": pair.in_force().exists(),
                "send_at": values["send_at"],
            }
        )


def counted(message_type: str, text: str) -> dict[str, Any]:
    """Return the segments of a text; a picture message and an email are not sent in any."""
    found = segmentation(text) if message_type == "sms" else None
    return {
        "encoding": found and found.encoding,
        "segments": found and found.segments,
        "characters": len(text),
        "ucs2_characters": list(found.ucs2_characters) if found else [],
    }


def carrier(channel: Channel, *, test: bool) -> tuple[str, str]:
    """Return the account that would carry a message now, or that it would wait for, and why it is that one."""
    first, running = routes.names_for(channel, test=test)[0], breaker.running(channel, test=test)
    if first in running:
        return first, f"{first} is the first account for {channel}."
    row = breaker.stopped(first, channel)
    why = f"{first} is {row.state}: {row.sentence}" if row else f"{first} is stopped."
    if running:
        return running[0], f"{why} {running[0]} is next."
    return first, f"{why} All accounts for {channel} are stopped, so the message would wait."
