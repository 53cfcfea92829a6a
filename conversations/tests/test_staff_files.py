"""Files that staff send along with an answer, and the links by which others get them."""

from pathlib import Path
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from conversations import media_links
from conversations.models import Media, Message
from conversations.tests.test_staff_thread import agent, history, inbound, page, say, staff  # noqa: F401

pytestmark = pytest.mark.django_db
PNG = b"\x89PNG\r\n\x1a\n and more"


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def picture(content=PNG, name="lamp.png", content_type="image/png"):
    return SimpleUploadedFile(name, content, content_type)


def answer():
    return Message.objects.get(direction="outbound")


def link(message):
    """The path of the link that a provider is told."""
    [url] = message.as_outbound().attachments
    return url.removeprefix("http://127.0.0.1:8080")


def stored(storage):
    return [each for each in storage.rglob("*") if each.is_file()]


def fetched(client, path):
    client.logout()
    response = client.get(path)
    return response, b"".join(response.streaming_content)


def test_a_picture_goes_out_as_an_mms_that_the_provider_can_fetch(client, agent):  # noqa: F811
    question = inbound()
    assert say(client, question, "", files=[picture()]).json()["errors"] == []
    sent = answer()
    assert (sent.type, sent.body, sent.attachments) == ("mms", "", [f"/api/v1/media/{Media.objects.get().pk}"])
    assert 'alt="lamp.png"' in page(client, question)
    assert history(question.conversation_id) == [(agent.pk, f"Replied with message {sent.pk} and 1 file.")]
    response, content = fetched(client, link(sent))
    assert (content, response["Content-Type"]) == (PNG, "image/png")
    assert response["Content-Disposition"].startswith("inline")


def test_what_browsers_could_run_is_only_saved_by_them(client, agent):  # noqa: F811
    file = picture(b"<script>alert(1)</script>", "offer.html", "text/html")
    say(client, inbound("Hi", "email"), files=[file])
    response, _ = fetched(client, link(answer()))
    assert response["Content-Disposition"] == 'attachment; filename="offer.html"'
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response["X-Content-Type-Options"] == "nosniff"


def test_no_other_link_leads_to_a_file(client, agent, settings, accept):  # noqa: F811
    question = inbound()
    say(client, question, files=[picture()])
    good, kept = link(answer()), answer().attachments[0]
    named_by_another = media_links.public(kept, accept(attachments=[kept]).pk).removeprefix("http://127.0.0.1:8080")
    came_in = media_links.public(kept, question.pk).removeprefix("http://127.0.0.1:8080")
    client.logout()
    for path in (named_by_another, came_in, good[:-1], good.replace("media/", "media/0"), f"/media/{uuid4().hex}"):
        assert client.get(path).status_code == 404, path
    settings.MEDIA_LINK_DAYS = 0
    assert client.get(good).status_code == 404


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (lambda: [picture() for _ in range(11)], "at most 10 files"),
        (lambda: [picture(b"")], "is empty"),
        (lambda: [picture(b"x" * 3_000_000, f"{number}.png") for number in range(2)], "larger than the 5.0"),
        (lambda: [picture(), picture(name="a.zip", content_type="chemical/x-pdb")], "a.zip: Files of this type"),
    ],
)
def test_what_cannot_be_sent_is_refused_and_leaves_nothing_behind(client, agent, storage, files, sentence):  # noqa: F811
    question = inbound()
    refused = say(client, question, files=files())
    assert sentence in refused.json()["errors"][0]
    assert (Message.objects.count(), Media.objects.count(), stored(storage)) == (1, 0, [])


def test_the_same_form_sends_its_files_once(client, agent, storage):  # noqa: F811
    question, key = inbound(), uuid4()
    assert [say(client, question, key=key, files=[picture()]).status_code for _ in range(2)] == [200, 200]
    assert (Media.objects.count(), len(stored(storage)), Message.objects.count()) == (1, 1, 2)
    assert say(client, question, key=key, files=[picture(b"another")]).status_code == 422
    assert len(stored(storage)) == 1


def test_where_the_storage_is_away_nothing_is_sent_and_it_is_said(client, agent, settings):  # noqa: F811
    settings.MEDIA_ROOT = Path("/dev/null")
    refused = say(client, inbound(), files=[picture()])
    assert (refused.status_code, "storage is away" in refused.json()["errors"][0]) == (503, True)
    assert not Message.objects.filter(direction="outbound").exists()


def test_who_may_not_answer_sends_no_file(client, storage):
    question = inbound()
    staff(client)
    assert say(client, question, files=[picture()]).status_code == 403
    assert stored(storage) == []


def test_no_form_is_read_that_is_larger_than_any_answer(client, settings):
    settings.MEDIA_MAX_BYTES = -1024 * 1024 + 100
    assert client.post("/admin/login/", {"file": picture(b"x" * 200)}).status_code == 400
