"""Subscriptions over HTTP: who is told of what, how that goes, and telling it again."""

from typing import Any, ClassVar, cast

from django.db import transaction
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations.api.fields import Choice, Flag, Identifier, Line, Moment, Shape, refusal
from conversations.api.paging import Page, choice, identifier, moment
from conversations.models import Client
from conversations.models.client import Scope
from providers import fetch
from webhooks.models import Delivery, Subscription
from webhooks.models.delivery import MOST_REPLAYED
from webhooks.models.subscription import EVENT_TYPES
from webhooks.telling import allowed

MOST_SUBSCRIPTIONS = 50
MOST_REPLAYED_BY_NAME = 100
EVERY_TYPE = "*"


def represent(subscription: Subscription) -> dict[str, Any]:
    """Return a subscription as the API shows it; its secret is shown when it is made, and never again."""
    return {
        "id": subscription.id,
        "url": subscription.url,
        "events": subscription.events,
        "status": subscription.status,
        "failing_since": subscription.failing_since,
        "disabled_at": subscription.disabled_at,
        "disabled_because": subscription.disabled_because or None,
        "created_at": subscription.created_at,
    }


def represent_delivery(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery as the API shows it."""
    return {
        "id": delivery.id,
        "event": delivery.event,
        "sequence": delivery.sequence,
        "conversation_id": delivery.conversation_id,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.next_attempt_at,
        "response_status": delivery.response_status,
        "response_text": delivery.response_text or None,
        "duration_ms": delivery.duration_ms,
        "error": delivery.error or None,
        "created_at": delivery.created_at,
        "delivered_at": delivery.delivered_at,
    }


class SubscriberURL(Line):
    """An https URL that may be posted to, as far as its text says; it is looked up when it is posted to."""

    def to_internal_value(self, data: Any) -> str:
        """Return the URL. Raises a validation error with the reason."""
        url = super().to_internal_value(data)
        try:
            fetch.check(url, allowed(url))
        except fetch.Refused as error:
            raise serializers.ValidationError(str(error), code="invalid_url") from None
        return url


class Events(serializers.ListField):
    """Types of events, each once; `*` is all that there are."""

    default_error_messages = {"not_a_list": "Give a list of event types.", "empty": "Name at least one type of event."}

    def to_internal_value(self, data: Any) -> list[str]:
        """Return the types in their usual order. Raises a validation error."""
        if not isinstance(data, list):
            self.fail("not_a_list")
        if len(data) > len(EVENT_TYPES):
            self.fail("max_length", max_length=len(EVENT_TYPES))
        named = super().to_internal_value(data)
        if not named:
            self.fail("empty")
        return [each for each in EVENT_TYPES if each in named or EVERY_TYPE in named]


class NewSubscription(Shape):
    """The body of a new subscription."""

    url = SubscriberURL(max_length=2048)
    events = Events(child=Choice([*EVENT_TYPES, EVERY_TYPE]), max_length=len(EVENT_TYPES))


class SubscriptionChange(Shape):
    """The body of a change; what is left out stays."""

    url = SubscriberURL(max_length=2048, required=False)
    events = Events(child=Choice([*EVENT_TYPES, EVERY_TYPE]), max_length=len(EVENT_TYPES), required=False)
    enabled = Flag(required=False)


class Replay(Shape):
    """What is to be told again: some by name, or all since a time, of one status or any."""

    deliveries = serializers.ListField(child=Identifier(), required=False, max_length=MOST_REPLAYED_BY_NAME)
    since = Moment(required=False)
    until = Moment(required=False)
    status = Choice([Delivery.Status.FAILED, Delivery.Status.DELIVERED], required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a body that names neither, or both."""
        if ("deliveries" in attrs) == ("since" in attrs):
            raise refusal("since", "one_of_two", "Give either deliveries, or since.")
        return attrs


class SubscriptionListView(APIView):
    """The client's subscriptions; posting makes one."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.WEBHOOKS_MANAGE, "POST": Scope.WEBHOOKS_MANAGE}

    def get(self, request: Request) -> Response:
        """Answer a page of them, newest first."""
        own = Subscription.objects.of_client(request.user)
        return Response(Page.of(request.query_params).show("subscriptions", own, "created_at", represent))

    @transaction.atomic
    def post(self, request: Request) -> Response:
        """Answer 201 with the subscription and, this once, its secret."""
        body = NewSubscription(data=request.data)
        body.is_valid(raise_exception=True)
        Client.objects.select_for_update(no_key=True).filter(
            pk=cast(Any, request.user).pk
        ).first()  # of many at once, one counts
        if Subscription.objects.of_client(request.user).count() >= MOST_SUBSCRIPTIONS:
            raise refusal("url", "too_many", f"A client has at most {MOST_SUBSCRIPTIONS} subscriptions.")
        subscription = Subscription(client_id=request.user.pk, **body.validated_data)
        secret = subscription.new_secret()
        subscription.save()
        headers = {"Location": subscription.get_absolute_url()}
        return Response({**represent(subscription), "secret": secret}, status=201, headers=headers)


class SubscriptionView(APIView):
    """One subscription."""

    scopes: ClassVar[dict[str, Scope]] = dict.fromkeys(("GET", "PATCH", "DELETE"), Scope.WEBHOOKS_MANAGE)

    def get(self, request: Request, subscription_id: Any) -> Response:
        """Answer the subscription."""
        return Response(represent(own(request, subscription_id)))

    @transaction.atomic
    def patch(self, request: Request, subscription_id: Any) -> Response:
        """Change its URL or events, disable it, or enable it: what waited meanwhile is told then."""
        own(request, subscription_id)
        body = SubscriptionChange(data=request.data)
        body.is_valid(raise_exception=True)
        subscription = own(request, subscription_id, locked=True)
        changes = dict(body.validated_data)
        enabled = changes.pop("enabled", None)
        for name, value in changes.items():
            setattr(subscription, name, value)
        if enabled:
            subscription.enable()
        elif enabled is False and subscription.disabled_at is None:
            subscription.disable("The client disabled it.")
        subscription.save()
        return Response(represent(subscription))

    @transaction.atomic
    def delete(self, request: Request, subscription_id: Any) -> Response:
        """Answer 204; nothing more is told there, and its log is gone."""
        own(request, subscription_id, locked=True).delete()
        return Response(status=204)


class SecretView(APIView):
    """A new secret for a subscription."""

    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.WEBHOOKS_MANAGE}

    @transaction.atomic
    def post(self, request: Request, subscription_id: Any) -> Response:
        """Answer it, this once. For a day deliveries are signed with the one before, too."""
        subscription = own(request, subscription_id, locked=True)
        secret = subscription.new_secret()
        subscription.save(update_fields=["encrypted_secrets"])
        return Response({**represent(subscription), "secret": secret})


class DeliveryListView(APIView):
    """What a subscription was told, and how that went."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.WEBHOOKS_MANAGE}

    def get(self, request: Request, subscription_id: Any) -> Response:
        """Answer a page of deliveries, newest first."""
        query = request.query_params
        found = own(request, subscription_id).deliveries.filter(
            **choice(query, "status", Delivery.Status.values),
            **choice(query, "event", EVENT_TYPES),
            **identifier(query, "conversation_id"),
            **moment(query, "created_after", "created_at__gt"),
            **moment(query, "created_before", "created_at__lt"),
        )
        return Response(Page.of(query).show("deliveries", found, "created_at", represent_delivery))


class ReplayView(APIView):
    """Telling again what was told, or given up."""

    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.WEBHOOKS_MANAGE}

    def post(self, request: Request, subscription_id: Any) -> Response:
        """Answer how many deliveries are due again, the oldest first; what waits already is not counted.

        Where there are more than can be taken at once, `next_since` is the `since` to go on with.
        """
        subscription = own(request, subscription_id)
        body = Replay(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = body.validated_data
        chosen = subscription.deliveries.all()
        if "deliveries" in wanted:
            chosen = chosen.filter(pk__in=wanted["deliveries"])
        else:
            chosen = chosen.filter(created_at__gte=wanted["since"])
        if "until" in wanted:
            chosen = chosen.filter(created_at__lte=wanted["until"])
        if "status" in wanted:
            chosen = chosen.filter(status=wanted["status"])
        replayed = chosen.replay(MOST_REPLAYED)
        more = len(replayed) == MOST_REPLAYED
        return Response({"replayed": len(replayed), "next_since": replayed[-1] if more else None})


def own(request: Request, subscription_id: Any, *, locked: bool = False) -> Subscription:
    """Return the client's subscription, for an update where `locked`; anybody else's is 404."""
    found = Subscription.objects.of_client(request.user).select_related("client")
    return get_object_or_404(found.select_for_update(of=("self",)) if locked else found, pk=subscription_id)
