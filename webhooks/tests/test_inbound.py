"""What people write to us, through the doors."""

from urllib.parse import urlencode

import pytest
from django.conf import settings as django_settings
from twilio.request_validator import RequestValidator

from conversations.models import Conversation, Message
from conversations.tests.conftest import accept  # noqa: F401
from webhooks.models import Receipt

pytestmark = pytest.mark.django_db

TWILIO = "/api/v1/webhooks/twilio"
# As Twilio documents an inbound message: https://www.twilio.com/docs/messaging/guides/webhook-request
INBOUND = {
    "ToCountry": "US", "ToState": "CA", "SmsMessageSid": "SM" + "2" * 32, "NumMedia": "0", "ToCity": "", "FromZip": "",
    "SmsSid": "SM" + "2" * 32, "FromState": "CA", "SmsStatus": "received", "FromCity": "", "Body": "Hello",
    "FromCountry": "US", "To": "+15551234567", "ToZip": "", "NumSegments": "1", "MessageSid": "SM" + "2" * 32,
    "AccountSid": "AC" + "0" * 32, "From": "+15559876543", "ApiVersion": "2010-04-01",
}  # fmt: skip


def text(client, signed=True, **values):
    form = {name: value for name, value in {**INBOUND, **values}.items() if value is not None}
    headers = {}
    if signed:
        validator = RequestValidator(django_settings.TWILIO_AUTH_TOKEN)
        headers["X-Twilio-Signature"] = validator.compute_signature(f"{django_settings.PUBLIC_URL}{TWILIO}", form)
    return client.post(TWILIO, urlencode(form), content_type="application/x-www-form-urlencoded", headers=headers)


def test_a_text_becomes_a_message_in_a_conversation(client):
    response = text(client)
    assert (response.status_code, response.content) == (200, b"<Response></Response>")
    message = Message.objects.get()
    assert (message.direction, message.status, message.type) == ("inbound", "received", "sms")
    assert (message.sender, message.recipient, message.body) == ("+15559876543", "+15551234567", "Hello")
    assert Conversation.objects.get().unread_count == 1
    assert Receipt.objects.get().result == "applied"


def test_a_text_keeps_the_request_that_brought_it(client):
    made = text(client).headers["X-Request-ID"]
    assert Message.objects.get().request_id == made


def test_the_same_text_counts_once_even_with_other_incidentals(client):
    for city in ("", "OAKLAND", "SAN FRANCISCO"):
        assert text(client, FromCity=city).status_code == 200
    assert Message.objects.count() == Conversation.objects.get().message_count == 1


def test_the_plainest_form_is_taken_on_a_developers_machine_and_as_often_as_it_comes(client):
    plain = {"From": "+15559876543", "To": "+15551234567", "Body": "Test", "MessageSid": "TEST_1"}
    for _ in range(2):
        response = client.post(TWILIO, urlencode(plain), content_type="application/x-www-form-urlencoded")
        assert response.content == b"<Response></Response>"
    assert Message.objects.get().body == "Test"


def test_a_reply_joins_the_conversation_that_it_answers(client, accept):  # noqa: F811
    sent = accept("thread")
    Message.objects.update(status="sent", next_attempt_at=None)
    text(client)
    assert Message.objects.get(direction="inbound").conversation_id == sent.conversation_id


def test_a_picture_makes_it_an_mms(client):
    text(client, NumMedia="1", MediaUrl0="https://api.twilio.com/2010/Media/ME1", MediaContentType0="image/jpeg")
    message = Message.objects.get()
    media = message.media.get()
    assert (message.type, message.attachments) == ("mms", [media.get_absolute_url()])
    assert (media.source_url, media.status) == ("https://api.twilio.com/2010/Media/ME1", "waiting")


@pytest.mark.parametrize("missing", ["From", "To"])
def test_a_form_without_from_or_to_is_400_with_a_reason(client, missing):
    response = text(client, **{missing: None})
    assert (response.status_code, response.json()["code"]) == (400, "unreadable_callback")


def test_a_reply_shows_in_the_api(client):
    text(client)
    [message] = client.get("/api/v1/messages/?direction=inbound").json()["messages"]
    assert (message["body"], message["status"], message["next_attempt_at"]) == ("Hello", "received", None)


def mail(client, **fields):
    fields = {"from": "Bob <bob@example.com>", "to": "ann@example.com", "subject": "Re: Hi", "text": "Hello", **fields}
    return client.post(
        "/api/v1/webhooks/sendgrid", {name: value for name, value in fields.items() if value is not None}
    )


def test_a_mail_becomes_a_message_in_the_conversation_of_its_pair(client, accept):  # noqa: F811
    sent = accept(type="email", sender="ann@example.com", recipient="bob@example.com", provider="sendgrid")
    response = mail(client)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    message = Message.objects.get(direction="inbound")
    assert (message.type, message.sender, message.subject, message.body) == (
        "email",
        "bob@example.com",
        "Re: Hi",
        "Hello",
    )
    assert message.conversation_id == sent.conversation_id


def test_a_mail_that_can_not_be_read_is_kept_for_a_person(client):
    assert mail(client, **{"from": None, "to": None}).status_code == 200
    receipt = Receipt.objects.get()
    assert (receipt.result, receipt.next_attempt_at) == ("kept", None)
    assert receipt.error
