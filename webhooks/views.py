"""The doors that providers knock on: check, store, apply, answer."""

import logging
from typing import Any

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from rest_framework.exceptions import ParseError, PermissionDenied
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from providers import routes
from providers.base import Callback
from providers.errors import UnreadableCallback
from webhooks.models import Receipt
from webhooks.signatures import Forged, verify

logger = logging.getLogger(__name__)

# The rest of a long array is the sweep's: a provider that waits too long for its answer sends all of it again.
APPLIED_AT_ONCE = 200


class CallbackView(APIView):
    """One provider's door. Its signature is its key, so it asks for no other."""

    authentication_classes = ()
    permission_classes = ()
    provider: str
    largest_body: int

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        """Answer in one form whatever the provider says it accepts."""
        return JSONRenderer(), JSONRenderer.media_type

    def post(self, request: Request) -> HttpResponse | Response:
        """Store what came, let it take effect, and say thanks: from the commit on it can't be lost."""
        account = routes.account_named(self.provider)
        assert account is not None, f"there is a door but no account named {self.provider}"
        callback = self.read(request)
        if len(callback.body) > self.largest_body:
            Receipt.objects.keep_oversized(self.provider)
            return self.thanks()
        try:
            verified = verify(account, callback)
            parts = account.split(callback)
        except Forged as error:
            logger.warning("%s: a callback was refused: %s", self.provider, error)
            raise PermissionDenied(str(error), code="invalid_signature") from None
        except UnreadableCallback as error:
            logger.warning("%s: a callback could not be read: %s", self.provider, error)
            raise ParseError(str(error), code="unreadable_callback") from None
        for receipt in Receipt.objects.keep(self.provider, parts, verified=verified)[:APPLIED_AT_ONCE]:
            receipt.apply()
        return self.thanks()

    def read(self, request: Request) -> Callback:
        """Return the request as the provider sent and signed it: to our public URL, whatever a proxy made of that."""
        body = request._request.read(self.largest_body + 1)
        headers = {name.lower(): value for name, value in request.headers.items()}
        return Callback(url=f"{settings.PUBLIC_URL}{request.get_full_path()}", body=body, headers=headers)

    def thanks(self) -> HttpResponse:
        """Return the answer that the provider expects."""
        raise NotImplementedError


class TwilioView(CallbackView):
    """Status callbacks of messages sent through Twilio."""

    provider = "twilio"
    largest_body = 256 * 1024

    def thanks(self) -> HttpResponse:
        """Return TwiML that asks Twilio to do nothing."""
        return HttpResponse("<Response></Response>", content_type="application/xml")


class SendGridView(CallbackView):
    """SendGrid's event webhook."""

    provider = "sendgrid"
    largest_body = 8 * 1024 * 1024

    def thanks(self) -> HttpResponse:
        """Return a 2xx, which is all that SendGrid looks at."""
        answer: dict[str, Any] = {"status": "ok"}
        return JsonResponse(answer)
