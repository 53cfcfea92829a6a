"""Sending as people write it by hand: get_or_create, create, one task for each message, the SDK as it comes.

Where it makes a difference it has the better of the usual ways: one transaction, a client for each process rather than
for each call, and 64 threads in its worker.
"""

import uuid
from typing import Any, ClassVar

from celery import Task, shared_task
from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from twilio.rest import Client

from messaging_project.benchmarks.yardsticks.views import SendSerializer

client = Client(settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN)
client.api.base_url = settings.TWILIO_BASE_URL


class Conversation(models.Model):
    """Who writes with whom."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    participant_from = models.CharField(max_length=254)
    participant_to = models.CharField(max_length=254)
    message_count = models.PositiveIntegerField(default=0)
    last_message_at = models.DateTimeField(null=True, db_index=True)

    objects: ClassVar[models.Manager["Conversation"]] = models.Manager()

    class Meta:
        app_label = "yardsticks"
        unique_together = [("participant_from", "participant_to")]

    def __str__(self) -> str:
        return str(self.id)


class Message(models.Model):
    """One message."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE)
    type = models.CharField(max_length=5)
    status = models.CharField(max_length=11, default="pending", db_index=True)
    sender = models.CharField(max_length=254)
    recipient = models.CharField(max_length=254)
    subject = models.CharField(max_length=998, blank=True)
    body = models.TextField(blank=True)
    html = models.TextField(blank=True)
    attachments = models.JSONField(default=list)
    metadata = models.JSONField(default=dict)
    provider_message_id = models.CharField(max_length=255, blank=True, db_index=True)
    sent_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager["Message"]] = models.Manager()

    class Meta:
        app_label = "yardsticks"

    def __str__(self) -> str:
        return str(self.id)


@shared_task(bind=True, name="yardsticks.send_sms", autoretry_for=(Exception,), retry_backoff=True, max_retries=5)
def send_sms(self: "Task[[str], None]", message_id: str) -> None:
    """Send one message."""
    message = Message.objects.get(pk=message_id)
    created = client.messages.create(to=message.recipient, from_=message.sender, body=message.body)
    message.status, message.provider_message_id, message.sent_at = "sent", str(created.sid), timezone.now()
    message.save()


class SendView(APIView):
    """Accepts a message."""

    def post(self, request: Request) -> Response:
        """Answer 201 with the message."""
        serializer = SendSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        message = accept(serializer.validated_data)
        send_sms.delay(str(message.id))
        return Response({"id": str(message.id), "status": message.status}, status=201)


@transaction.atomic
def accept(wish: dict[str, Any]) -> Message:
    """Find or make the conversation, and insert the message."""
    between = {"participant_from": wish["from"], "participant_to": wish["to"]}
    conversation, _ = Conversation.objects.get_or_create(**between)
    kept = ("type", "subject", "body", "html", "attachments", "metadata")
    message = Message.objects.create(
        conversation=conversation, sender=wish["from"], recipient=wish["to"], **{name: wish[name] for name in kept}
    )
    conversation.message_count += 1
    conversation.last_message_at = message.created_at
    conversation.save()
    return message
