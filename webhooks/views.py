"""The doors that providers knock on: check, store, apply, answer."""

import logging
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, Any, ClassVar, cast

from django.conf import settings
from django.db.models import Count, Q, Sum
from django.http import HttpResponse, JsonResponse, UnreadablePostError
from django.utils import timezone
from rest_framework.exceptions import APIException, ParseError, PermissionDenied
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations.api.media import StorageUnavailable
from conversations.models.client import Scope
from providers import routes
from providers.base import Callback, CallbackPart, Provider
from providers.errors import UnreadableCallback
from webhooks.models import Receipt, Refusal, StorageAway
from webhooks.signatures import Forged, verify

logger = logging.getLogger(__name__)

# The rest of a long array is the sweep's: a provider that waits too long for its answer sends all of it again.
APPLIED_AT_ONCE = 1_000
# A larger one, such as a mail with pictures, is the sweep's too.
APPLIED_AT_ONCE_BYTES = 64 * 1024
READ_BYTES = 64 * 1024
# Up to this size a body is read into memory as it comes. Larger ones are spooled to disk and wait there for one of two
# turns, so that many of them do not fill the memory. Against slow senders, who hold a thread each, a proxy that buffers
# requests has to stand in front.
SMALL_BODY_BYTES = 1024 * 1024
_large_body = threading.BoundedSemaphore(2)


class BrokeOff(APIException):
    """Half a callback is none, and the other half can still come."""

    status_code = 503
    default_code = "body_broke_off"
    default_detail = "The body is shorter than its Content-Length. Send it again."
    wait = 5


class TooLarge(Exception):
    """A callback is over its door's limit."""


class CallbackView(APIView):
    """One provider's door. Its signature is its key, so it asks for no other."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    provider: str

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        """Answer in one form whatever the provider says it accepts."""
        return JSONRenderer(), JSONRenderer.media_type

    def post(self, request: Request) -> HttpResponse | Response:
        """Store what came, let it take effect, and say thanks: from the commit on it can't be lost."""
        try:
            with body_of(request, self.largest_body(request)) as body:
                self.take(request, body)
        except TooLarge:
            Refusal.objects.count_one(self.provider, Refusal.Reason.OVERSIZED)
            Receipt.objects.keep_oversized(self.provider)
        return self.thanks()

    def take(self, request: Request, body: bytes) -> None:
        """Check a callback, keep it, apply it. Raises `PermissionDenied` or `ParseError`, with the reason."""
        account = self.account(request)
        # As the provider sent and signed it: to our public URL, whatever a proxy made of that.
        headers = {name.lower(): value for name, value in request.headers.items()}
        callback = Callback(url=f"{settings.PUBLIC_URL}{request.get_full_path()}", body=body, headers=headers)
        try:
            verified = verify(account, callback)
            parts = account.split(callback)
        except Forged as error:
            self.refuse(error.reason, error)
            raise PermissionDenied(str(error), code="invalid_signature") from None
        except UnreadableCallback as error:
            self.refuse(Refusal.Reason.UNREADABLE, error)
            raise ParseError(str(error), code="unreadable_callback") from None
        if any(part.kind == "inbound" for part in parts):
            self.take_inbound(account, parts, verified, is_small=len(body) <= APPLIED_AT_ONCE_BYTES)
        else:
            Receipt.objects.keep_and_apply(account.name, parts[:APPLIED_AT_ONCE], verified=verified)
            Receipt.objects.keep(account.name, parts[APPLIED_AT_ONCE:], verified=verified)

    def take_inbound(self, account: Provider, parts: Sequence[CallbackPart], verified: bool, *, is_small: bool) -> None:
        """Keep what somebody wrote before anything else is done with it: it may not come again."""
        try:
            receipts = Receipt.objects.keep(account.name, parts, verified=verified)
        except StorageAway:
            raise StorageUnavailable from None  # providers come again after a 503
        if is_small or not parts[0].body:
            Receipt.objects.apply(receipts)

    def account(self, request: Request) -> Provider:
        """Return the account that `?p=` names, the first of this provider without it. Raises `PermissionDenied`."""
        name = request.query_params.get("p", self.provider)
        account = routes.account_named(name) if routes.has_door(name, self.provider) else None
        if account is None:
            self.refuse(Refusal.Reason.FORGED, "it names no account of ours")
            raise PermissionDenied("There is no such account.", code="unknown_account")
        return account

    def refuse(self, reason: str, error: object) -> None:
        """Count what is not let in."""
        logger.warning("%s: a callback was refused: %s", self.provider, error)
        Refusal.objects.count_one(self.provider, reason)

    def largest_body(self, request: Request) -> int:
        """Return how many bytes the door takes."""
        raise NotImplementedError

    def thanks(self) -> HttpResponse:
        """Return the answer that the provider expects."""
        raise NotImplementedError


@contextmanager
def body_of(request: Request, most: int) -> Iterator[bytes]:
    """Yield the body as it came, byte for byte. Raises `TooLarge` past `most` bytes, once all of it was read: a sender
    who is cut off gets no answer.
    """
    with tempfile.SpooledTemporaryFile(SMALL_BODY_BYTES) as spool:
        size = spool_body(request, cast("IO[bytes]", spool), most)
        if size > most:
            raise TooLarge
        spool.seek(0)
        if size <= SMALL_BODY_BYTES:
            yield spool.read()
        else:
            with _large_body:
                yield spool.read()


def spool_body(request: Request, spool: IO[bytes], most: int) -> int:
    """Copy a body, what is past `most` bytes left out; return its whole size. Raises `BrokeOff`."""
    size, announced = 0, int(request.META.get("CONTENT_LENGTH") or 0)
    try:
        while chunk := request._request.read(READ_BYTES):
            size += len(chunk)
            if size <= most:
                spool.write(chunk)
    except UnreadablePostError:
        raise BrokeOff from None
    if size < announced:
        raise BrokeOff
    return size


class TwilioView(CallbackView):
    """Twilio's door: messages that came in, and statuses of those that we sent."""

    provider = "twilio"

    def largest_body(self, request: Request) -> int:
        """Return 256 KB: texts have at most 1,600 characters."""
        return 256 * 1024

    def thanks(self) -> HttpResponse:
        """Return TwiML that asks Twilio to do nothing."""
        return HttpResponse("<Response></Response>", content_type="application/xml")


class SendGridView(CallbackView):
    """SendGrid's door: events of mails that we sent, and mails that came in."""

    provider = "sendgrid"

    def largest_body(self, request: Request) -> int:
        """Return 35 MB for a mail, which SendGrid takes up to 30 MB of, and 8 MB for events."""
        is_mail = (request.content_type or "").lower().startswith("multipart/")
        return (35 if is_mail else 8) * 1024 * 1024

    def thanks(self) -> HttpResponse:
        """Return a 2xx, which is all that SendGrid looks at."""
        answer: dict[str, Any] = {"status": "ok"}
        return JsonResponse(answer, json_dumps_params={"separators": (",", ":")})


class DoorStatusView(APIView):
    """What went on at one door."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ}

    def get(self, request: Request, provider: str) -> Response:
        """Answer the last day's counts. 400 for a provider that has no door."""
        if provider not in {TwilioView.provider, SendGridView.provider}:
            raise ParseError("There is no such provider. Give twilio or sendgrid.", code="unknown_provider")
        return Response({"provider": provider, "status": "active", "statistics": statistics(provider)})


def statistics(provider: str) -> dict[str, Any]:
    """Return how many callbacks of the last 24 h there were, took effect, and did not: refused ones, and those that
    could not be applied or found no message. What waits is in none of the two.
    """
    day_ago = timezone.now() - timedelta(days=1)
    took_effect = Q(result__in=[Receipt.Result.APPLIED, Receipt.Result.KEPT], error="")
    accounts = [name for name in routes.account_names() if routes.kind_of(name) == provider]
    came = Receipt.objects.filter(provider__in=accounts, backfilled=False).exclude(payload__has_key="oversized")
    receipts = came.filter(received_at__gte=day_ago).aggregate(
        total=Count("id"),
        processed=Count("id", filter=took_effect),
        failed=Count("id", filter=~took_effect & ~Q(result=Receipt.Result.WAITING)),
    )
    refused = Refusal.objects.filter(provider=provider, hour__gte=day_ago).aggregate(count=Sum("count"))["count"] or 0
    last = came.order_by("-received_at").values_list("received_at", flat=True).first()
    return {
        "total_webhooks_24h": receipts["total"] + refused,
        "processed_webhooks_24h": receipts["processed"],
        "error_webhooks_24h": receipts["failed"] + refused,
        "last_webhook_at": last,
    }
