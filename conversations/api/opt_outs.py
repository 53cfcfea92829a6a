"""Opt-outs over HTTP: who wants no more messages from which of our addresses."""

from typing import Any, ClassVar, cast

from django.conf import settings
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations.addresses import InvalidAddress, normalise_email, normalise_phone, normalise_phone_sender
from conversations.api.fields import Choice, Line, Shape, refusal
from conversations.api.messages import address
from conversations.api.paging import Page, choice, flag
from conversations.models import Conversation, OptOut
from conversations.models.client import Scope


def represent(opt_out: OptOut) -> dict[str, Any]:
    """Return an opt-out as the API shows it. It holds while `lifted_at` is null."""
    return {
        "id": opt_out.id,
        "channel_type": opt_out.channel_type,
        "our_address": opt_out.our_address,
        "their_address": opt_out.their_address,
        "source": opt_out.source,
        "opted_out_at": opt_out.opted_out_at,
        "lifted_at": opt_out.lifted_at,
        "lifted_by": opt_out.lifted_by or None,
    }


class OptOutRequest(Shape):
    """The body of an opt-out."""

    channel_type = Choice(Conversation.ChannelType.values)
    our_address = Line(max_length=254)
    their_address = Line(max_length=254)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Normalise both addresses as messages have them."""
        errors = {}
        for name in ("our_address", "their_address"):
            try:
                attrs[name] = normalised(attrs[name], attrs["channel_type"], is_ours=name == "our_address")
            except InvalidAddress as error:
                errors[name] = [serializers.ErrorDetail(str(error), error.code)]
        if errors:
            raise serializers.ValidationError(errors)
        return attrs


def normalised(text: str, channel_type: str, *, is_ours: bool) -> str:
    """Return an address as messages of this channel keep it; ours may be a short code. Raises `InvalidAddress`."""
    if channel_type == Conversation.ChannelType.EMAIL:
        return normalise_email(text)
    return (normalise_phone_sender if is_ours else normalise_phone)(text, settings.DEFAULT_PHONE_REGION)


class OptOutListView(APIView):
    """The list of opt-outs; posting to it makes one."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ, "POST": Scope.CONVERSATIONS_WRITE}

    def get(self, request: Request) -> Response:
        """Answer a page of opt-outs, newest first; those that were lifted only with `lifted=true`."""
        query = request.query_params
        opt_outs = OptOut.objects.visible_to(request.user).filter(
            **choice(query, "channel_type", Conversation.ChannelType.values),
            **choice(query, "source", OptOut.Source.values),
            **address(query, "our_address", "our_address__iexact"),
            **address(query, "their_address", "their_address__iexact"),
            lifted_at__isnull=not flag(query, "lifted"),
        )
        return Response(Page.of(query).show("opt_outs", opt_outs, "opted_out_at", represent))

    def post(self, request: Request) -> Response:
        """Answer 201 with the opt-out that holds from now on, or that held already."""
        body = OptOutRequest(data=request.data)
        body.is_valid(raise_exception=True)
        client = cast(Any, request.user)
        if not client.may_send_from(body.validated_data["our_address"]):
            raise refusal("our_address", "foreign_sender", "This client does not send from this address.")
        opt_out = OptOut.objects.opt_out(**body.validated_data, test=client.test, source=OptOut.Source.CLIENT)
        return Response(represent(opt_out), status=201, headers={"Location": opt_out.get_absolute_url()})


class OptOutView(APIView):
    """One opt-out."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ, "DELETE": Scope.CONVERSATIONS_WRITE}

    def get(self, request: Request, opt_out_id: Any) -> Response:
        """Answer the opt-out."""
        return Response(represent(get_object_or_404(OptOut.objects.visible_to(request.user), pk=opt_out_id)))

    def delete(self, request: Request, opt_out_id: Any) -> Response:
        """Lift it: 204, also if it was lifted before. It stays in the list of lifted ones."""
        opt_out = get_object_or_404(OptOut.objects.visible_to(request.user), pk=opt_out_id)
        OptOut.objects.filter(pk=opt_out.pk).lift(source=OptOut.Source.CLIENT)
        return Response(status=204)
