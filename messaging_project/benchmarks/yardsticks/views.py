"""DRF that answers, DRF that validates and answers, and the door of the Celery yardstick."""

from typing import Any, cast

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from messaging_project.benchmarks.yardsticks.celery import publish


class SendSerializer(serializers.Serializer[dict[str, object]]):
    """The fields of a send, as DRF's own."""

    to = serializers.CharField(max_length=254)
    type = serializers.ChoiceField(["sms", "mms", "email"])
    body = serializers.CharField(required=False, allow_blank=True, default="", max_length=1_600)
    html = serializers.CharField(required=False, allow_blank=True, default="")
    subject = serializers.CharField(required=False, allow_blank=True, max_length=998, default="")
    attachments = serializers.ListField(child=serializers.URLField(), required=False, max_length=10, default=list)
    metadata = serializers.DictField(required=False, default=dict)
    parent_id = serializers.UUIDField(required=False, allow_null=True, default=None)
    conversation_type = serializers.ChoiceField(["direct", "thread"], required=False, default="direct")
    send_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    on_unresolved = serializers.ChoiceField(["hold", "resend"], required=False, default="hold")
    unsubscribe = serializers.BooleanField(required=False, default=False)

    def get_fields(self) -> dict[str, serializers.Field[object, object, object, object]]:
        """Return the fields, with `from`, which Python can't declare by that name, in front."""
        return {"from": serializers.CharField(max_length=254), **super().get_fields()}


class HelloView(APIView):
    """The least that a DRF view does."""

    def post(self, request: Request) -> Response:
        """Answer."""
        return Response({"hello": "world"})


class ValidateView(APIView):
    """A send that is parsed, validated and answered, and then forgotten."""

    def post(self, request: Request) -> Response:
        """Answer 201 with what was asked for."""
        serializer = SendSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(serializer.validated_data, status=201)


class NothingView(APIView):
    """Fills the queue of the task that does nothing."""

    def post(self, request: Request) -> Response:
        """Publish `count` tasks."""
        publish(int(cast(Any, request.data)["count"]))
        return Response({})
