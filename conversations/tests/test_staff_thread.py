"""What staff do on the page of a conversation, and who may."""

from itertools import count
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from conversations.models import Conversation, Media, Message, Note, OptOut
from conversations.receiving import receive
from providers.base import InboundMedia, InboundMessage

pytestmark = pytest.mark.django_db
US, THEM = "+15551234567", "+15559876543"
numbers = count()


def staff(client, *permissions):
    """Log somebody in with these permissions and the one to look."""
    user = User.objects.create_user(f"staff{next(numbers)}", is_staff=True)
    names = ("view_conversation", "view_message", *permissions)
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)
    return user


@pytest.fixture
def agent(client):
    return staff(client, "reply_conversation", "resend_message")


def inbound(body="Hi", channel="sms", **values):
    usual = {"sender": THEM, "recipient": US} if channel == "sms" else {"sender": "b@x.test", "recipient": "us@x.test"}
    message = InboundMessage(channel=channel, body=body, provider_message_id=f"id-{next(numbers)}", **usual, **values)
    return receive("twilio" if channel == "sms" else "sendgrid", message)


def url(name, pk):
    return reverse(f"admin:conversations_{name}", args=[pk])


def page(client, message):
    return client.get(url("conversation_change", message.conversation_id)).text


def post(client, name, pk, **form):
    return client.post(url(f"conversation_{name}", pk), form, headers={"Accept": "application/json"})


def say(client, message, body="Hello", key=None, **form):
    return post(client, "reply", message.conversation_id, key=key or uuid4(), body=body, **form)


def history(conversation_id):
    return list(LogEntry.objects.filter(object_id=str(conversation_id)).values_list("user_id", "change_message"))


def test_an_answer_goes_from_our_side_to_theirs_and_says_who_wrote_it(client, agent):
    question = inbound()
    assert say(client, question).status_code == 200
    answer = Message.objects.get(direction="outbound")
    assert (answer.sender, answer.recipient, answer.type, answer.status) == (US, THEM, "sms", "pending")
    assert (answer.conversation_id, answer.author, answer.parent) == (question.conversation_id, agent, question)
    assert history(question.conversation_id) == [(agent.pk, f"Replied with message {answer.pk}.")]


def test_the_same_form_sends_once(client, agent):
    question, key = inbound(), uuid4()
    assert [say(client, question, key=key).status_code for _ in range(3)] == [200] * 3
    assert Message.objects.filter(direction="outbound").count() == 1
    assert len(history(question.conversation_id)) == 1
    assert say(client, question, "Something else", key=key).status_code == 422


def test_the_same_form_sends_once_also_where_they_wrote_in_between(client, agent):
    question, key = inbound(), uuid4()
    say(client, question, key=key)
    inbound("And another thing")
    assert say(client, question, key=key).json()["errors"] == []
    assert Message.objects.filter(direction="outbound").count() == 1


def test_an_answer_to_a_mail_names_what_it_answers(client, agent):
    inbound("First", "email", subject="Old", message_id_header="<1@x.test>")
    question = inbound("Second", "email", subject="Claim", message_id_header="<2@x.test>")
    assert 'value="Re: Claim"' in page(client, question)
    say(client, question, subject="Re: Claim")
    answer = Message.objects.get(direction="outbound")
    assert (answer.parent, answer.subject, answer.reference_headers) == (question, "Re: Claim", "<2@x.test>")
    assert (answer.sender, answer.recipient) == ("us@x.test", "b@x.test")


def test_an_answer_stays_in_a_thread_and_in_a_conversation_without_messages(client, agent, accept):
    first = accept(conversation_type="thread")
    say(client, first)
    empty = Conversation.objects.create(
        type="thread", channel_type="sms", participant_from=US, participant_to="+15550001111"
    )
    post(client, "reply", empty.pk, key=uuid4(), body="Hello")
    assert set(Message.objects.values_list("conversation_id", flat=True)) == {first.conversation_id, empty.pk}


@pytest.mark.parametrize(("body", "sentence"), [(" ", "Give a body"), ("x" * 1601, "at most 1,600")])
def test_what_the_api_would_refuse_is_refused_in_its_words(client, agent, body, sentence):
    question = inbound()
    answer = say(client, question, body)
    assert (answer.status_code, sentence in answer.json()["errors"][0]) == (400, True)
    assert not Message.objects.filter(direction="outbound").exists()


def test_without_javascript_the_page_comes_again_with_the_reason(client, agent):
    question = inbound()
    answer = client.post(url("conversation_reply", question.conversation_id), {"key": uuid4(), "body": ""}, follow=True)
    assert "Give a body" in answer.text


def test_who_opted_out_is_warned_of_and_gets_nothing(client, agent):
    question = inbound("STOP")
    shown = page(client, question)
    assert ("A reply will not be sent" in shown, "(Texted STOP)" in shown) == (True, True)
    say(client, question)
    assert Message.objects.get(direction="outbound").error_code == "recipient_opted_out"
    OptOut.objects.lift(source="staff")
    assert "A reply will not be sent" not in page(client, question)


DOORS = {"reply": {"body": "Hi"}, "note": {"text": "Hi"}, "update": {"status": "closed"}, "read": {}, "unread": {}}


@pytest.mark.parametrize("door", DOORS)
def test_readers_are_shown_no_doors_and_forged_posts_are_refused(client, door):
    question = inbound()
    staff(client)
    shown = page(client, question)
    assert ("Hi" in shown, "<textarea" in shown, "Archive" in shown) == (True, False, False)
    before = Conversation.objects.values().get()
    assert post(client, door, question.conversation_id, key=uuid4(), **DOORS[door]).status_code == 403
    assert (Conversation.objects.values().get(), Message.objects.count(), Note.objects.count()) == (before, 1, 0)


@pytest.mark.parametrize("door", ["reply", "note", "update", "read", "unread"])
def test_looking_changes_nothing(client, agent, door):
    question = inbound()
    page(client, question)
    assert client.get(url(f"conversation_{door}", question.conversation_id)).status_code == 405
    assert Conversation.objects.get().unread_count == 1
    assert history(question.conversation_id) == []


@pytest.mark.parametrize("path", ["conversation_change", "conversation_news"])
def test_who_may_not_look_sees_nothing(client, path):
    question = inbound()
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(url(path, question.conversation_id)).status_code == 403
    for page_of_message in ("message_timeline", "message_mail"):
        assert client.get(url(page_of_message, question.pk)).status_code == 403


def test_a_note_is_kept_once_and_is_no_message(client, agent):
    question, key = inbound(), uuid4()
    for _ in range(2):
        assert post(client, "note", question.conversation_id, key=key, text="Call her").status_code == 200
    assert "Call her" in page(client, question)
    assert (Note.objects.get().author, Message.objects.count()) == (agent, 1)
    assert history(question.conversation_id) == [(agent.pk, "Wrote a note.")]
    found = client.post("/api/v1/conversations/search", {"query": "Call her"}, content_type="application/json")
    assert found.json()["total"] == 0


def test_only_what_was_seen_is_read(client, agent):
    seen = inbound("One")
    inbound("Two")
    post(client, "read", seen.conversation_id, seen=seen.pk)
    assert Conversation.objects.get().unread_count == 1
    post(client, "read", seen.conversation_id)
    assert Conversation.objects.get().unread_count == 0
    post(client, "unread", seen.conversation_id)
    assert Conversation.objects.get().unread_count == 1
    assert [said for _, said in history(seen.conversation_id)] == ["Marked as unread.", "Read.", "Read."]


def test_titles_and_statuses_are_changed_by_the_rules_of_the_api(client, agent):
    question = inbound()
    for _ in range(2):
        post(client, "update", question.conversation_id, title="Ann", status="closed")
    assert Conversation.objects.values_list("title", "status").get() == ("Ann", "closed")
    assert history(question.conversation_id) == [(agent.pk, "Title changed. Closed.")]
    assert say(client, question).json()["errors"] == ["This conversation is closed. Reopen it to reply."]
    inbound("A new one")
    refused = post(client, "update", question.conversation_id, status="active")
    assert (refused.status_code, "another open conversation" in refused.json()["errors"][0]) == (409, True)


def test_news_are_told_to_who_does_not_know_them(client, agent):
    question = inbound()
    news = url("conversation_news", question.conversation_id)
    known = client.get(news)["ETag"]

    def tells():
        nonlocal known
        answer = client.get(news, headers={"If-None-Match": known})
        known = answer.get("ETag", known)
        return answer.status_code

    assert tells() == 304
    changes = {
        "message": lambda: inbound("More"),
        "note": lambda: Note.objects.create(conversation=question.conversation, text="!"),
        "title": lambda: Conversation.objects.update(title="Ann"),
        "answer": lambda: say(client, question),
        "status": lambda: Message.objects.cancel(Message.objects.get(direction="outbound").pk, "Ann"),
        "opt-out": lambda: OptOut.objects.opt_out("sms", US, THEM, source="staff"),
    }
    for name, change in changes.items():
        change()
        assert (name, tells(), tells()) == (name, 200, 304)


def test_a_file_that_has_arrived_is_news(client, agent):
    question = inbound(media=(InboundMedia(url="https://api.twilio.com/x", content_type="image/png"),))
    before = page(client, question)
    Media.objects.update(status="stored", next_attempt_at=None)
    assert "is being fetched" in before
    assert "<img" in page(client, question)


def test_long_threads_come_in_pages(client, agent, accept):
    messages = [accept(body=f"Number {number}.") for number in range(120)]
    Note.objects.create(conversation=messages[0].conversation, text="In the newest page")
    seen, path = [], url("conversation_change", messages[0].conversation_id)
    while path:
        text = client.get(path).text
        seen.append({number for number in range(120) if f"Number {number}." in text})
        assert ("In the newest page" in text) == (len(seen) == 1)
        older = text.partition('id="older" href="')[2].partition('"')[0]
        path = older and url("conversation_change", messages[0].conversation_id) + older
    assert [len(each) for each in seen] == [50, 50, 20]
    assert set.union(*seen) == set(range(120))


def test_a_page_asks_no_more_for_more_messages(client, agent, accept, django_assert_max_num_queries):
    for number in range(40):
        accept(body=f"Number {number}")
        inbound(media=(InboundMedia(content=b"1", content_type="image/png"),) if number % 9 == 0 else ())
    with django_assert_max_num_queries(18):
        page(client, Message.objects.first())
    news = url("conversation_news", Message.objects.first().conversation_id)
    etag = client.get(news)["ETag"]
    with django_assert_max_num_queries(11):
        client.get(news, headers={"If-None-Match": etag})


def test_sending_again_asks_where_it_may_have_arrived(client, agent, accept):
    message = accept()
    Message.objects.filter(pk=message.pk).update(status="unresolved", next_attempt_at=None)
    assert post(client, "retry", message.pk).status_code == 400
    assert post(client, "retry", message.pk, sure="on").status_code == 200
    message.refresh_from_db()
    assert message.status == "pending"
    assert history(message.conversation_id) == [(agent.pk, f"Sent message {message.pk} again.")]
    assert "can be sent again" in post(client, "retry", message.pk, sure="on").json()["errors"][0]


def test_sending_again_asks_where_an_earlier_attempt_got_no_answer(client, agent, accept):
    message, other = accept(), accept()
    message.events.create(status="uncertain", evidence="observed", attempt=1)
    Message.objects.update(status="failed", next_attempt_at=None)
    assert page(client, message).count('name="sure"') == 1
    assert post(client, "retry", message.pk).status_code == 400
    assert post(client, "retry", other.pk).status_code == 200
    assert post(client, "retry", message.pk, sure="on").status_code == 200


def test_to_who_opted_out_since_nothing_is_sent_again_and_it_is_said_why(client, agent, accept, monkeypatch):
    rung = []
    monkeypatch.setattr("conversations.tasks.ring", rung.append)
    message = accept()
    Message.objects.update(status="undelivered", next_attempt_at=None)
    assert "Send again" in page(client, message)
    OptOut.objects.opt_out("sms", US, THEM, source="keyword")
    refused = post(client, "retry", message.pk)
    assert (refused.status_code, "It is not sent again." in refused.json()["errors"][0]) == (400, True)
    message.refresh_from_db()
    assert (message.status, rung, history(message.conversation_id)) == ("undelivered", [], [])
    assert "Send again" not in page(client, message)


def test_sending_again_takes_its_permission(client, accept):
    message = accept()
    Message.objects.filter(pk=message.pk).update(status="failed", next_attempt_at=None)
    staff(client, "reply_conversation")
    assert "Send again" not in page(client, message)
    assert post(client, "retry", message.pk).status_code == 403


def test_the_price_of_a_text_is_told_with_the_names_of_what_makes_it_dear(client, agent):
    door = reverse("admin:conversations_conversation_preview")
    plain = client.post(door, {"body": "x" * 161}).json()
    assert (plain["encoding"], plain["segments"], plain["ucs2_characters"]) == ("GSM-7", 2, [])
    dear = client.post(door, {"body": "It’s"}).json()
    assert dear["ucs2_characters"] == [{"character": "’", "name": "right single quotation mark"}]


def test_a_timeline_tells_what_became_known_and_how(client, agent, accept):
    shown = client.get(url("message_timeline", accept().pk)).text
    assert ("Accepted." in shown, "We saw it ourselves" in shown) == (True, True)


def test_the_html_of_a_mail_is_cleaned_and_may_do_nothing(client, agent):
    html = (
        '<p style="color:red;position:fixed">Hello</p><script>alert(1)</script><img src="https://x.test/p.gif">'
        '<a href="javascript:alert(1)" onclick="alert(1)">x</a><a href="https://x.test/">y</a>'
        '<form action="https://x.test"><input></form><iframe src="https://x.test"></iframe>'
        '<img src="data:image/png;base64,AAAA"><img src="data:image/svg+xml,<svg onload=alert(1)>">'
        '<meta http-equiv="refresh" content="0;url=https://x.test"><base href="https://x.test">'
    )
    answer = client.get(url("message_mail", inbound("", "email", html=html).pk))
    body = answer.text.partition("</style>")[2]
    assert '<p style="color:red">Hello</p>' in body
    for strange in ("script", "onclick", "position", "p.gif", "<form", "<input", "iframe", "svg", "refresh", "<base"):
        assert strange not in body
    assert 'rel="noopener noreferrer nofollow"' in body
    assert "data:image/png" in body
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "sandbox" in answer["Content-Security-Policy"]
    assert (answer["X-Frame-Options"], answer["X-Content-Type-Options"]) == ("SAMEORIGIN", "nosniff")


def test_a_mail_shows_the_pictures_that_came_with_it_and_no_others(client, agent, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path

    def picture(content, name="logo@x", kind="image/png"):
        return InboundMedia(content=content, content_type=kind, content_id=name, filename="logo.png")

    def shown(html, *media):
        return client.get(url("message_mail", inbound("", "email", html=html, media=media).pk)).text

    html = '<img src="cid:logo%40x"><img src="cid:other"><a href="cid:logo@x">x</a>'
    assert shown(html, picture(b"picture")).count("data:image/png;base64,cGljdHVyZQ==") == 1
    for strange in (picture(b"picture", kind="image/svg+xml"), picture(b"picture", name="third")):
        assert "base64" not in shown(html, strange)
    assert "base64" not in shown(html)
    assert "cid:" not in shown(html, picture(b"picture"))


def test_a_picture_that_is_named_a_thousand_times_is_shown_as_often_as_is_bearable(client, agent, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    media = InboundMedia(content=b"x" * 4_000_000, content_type="image/png", content_id="big")
    mail = inbound("", "email", html='<img src="cid:big">' * 1000, media=(media,))
    assert client.get(url("message_mail", mail.pk)).text.count("data:image/png") == 2


def test_a_deleted_member_of_staff_leaves_what_they_wrote(client, agent):
    question = inbound()
    say(client, question)
    post(client, "note", question.conversation_id, key=uuid4(), text="Call her")
    agent.delete()
    assert [Message.objects.get(direction="outbound").author, Note.objects.get().author] == [None, None]
