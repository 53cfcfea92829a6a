"""Pictures and files that came in: fetched or stored, within limits, and served."""

import pytest
from django.utils import timezone

from conversations import receiving, tasks
from conversations.models import Media, Message
from providers.base import InboundMedia, InboundMessage
from providers.tests.media_server import cut_off, file, serving

pytestmark = pytest.mark.django_db

PNG = b"\x89PNG\r\n\x1a\n not really"


@pytest.fixture(autouse=True)
def own_media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


def received(*media, channel="mms", key="K1"):
    who = {"sender": "b@example.com", "recipient": "a@example.com"}
    who = who if channel == "email" else {"sender": "+15559876543", "recipient": "+15551234567"}
    return receiving.receive("twilio", InboundMessage(provider_message_id=key, channel=channel, media=media, **who))


def picture_at(server, settings, path="/a"):
    settings.FETCH_ALLOW = [server.authority]
    return received(InboundMedia(url=f"{server.url}{path}", content_type="image/jpeg")).media.get()


def fetched(media):
    tasks.fetch_media()
    media.refresh_from_db()
    return media


def test_a_picture_of_an_mms_is_fetched_stored_and_served_inline(client, settings):
    with serving({"/a": file(PNG, Content_Type="image/png")}) as server:
        media = fetched(picture_at(server, settings))
    assert (media.status, media.content_type, media.size) == ("stored", "image/png", len(PNG))
    answer = client.get(media.get_absolute_url())
    assert (b"".join(answer), answer["Content-Type"]) == (PNG, "image/png")
    assert (answer["Content-Disposition"].partition(";")[0], answer["X-Content-Type-Options"]) == ("inline", "nosniff")


def test_a_message_names_where_its_files_are_served(client, settings):
    with serving({"/a": file(PNG, Content_Type="image/png")}) as server:
        media = picture_at(server, settings)
    [shown] = client.get("/api/v1/messages/").json()["messages"]
    assert shown["attachments"] == [f"{settings.PUBLIC_URL}/api/v1/media/{media.id}"]


def test_a_file_that_is_not_there_yet_is_503_with_a_wait(client):
    media = received(InboundMedia(url="https://api.twilio.com/x")).media.get()
    answer = client.get(media.get_absolute_url())
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "media_not_yet_fetched", "2")


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/pdf"])
def test_what_a_browser_could_run_is_a_download(client, kind):
    mail = received(InboundMedia(content=b"<script>", content_type=kind, filename='a"b.html'), channel="email")
    answer = client.get(mail.media.get().get_absolute_url())
    assert answer["Content-Disposition"].startswith("attachment")
    assert (answer["Content-Type"], b"".join(answer)) == ("application/octet-stream", b"<script>")
    assert "sandbox" in answer["Content-Security-Policy"]


def test_files_of_a_mail_are_stored_in_their_order_and_for_their_owner_alone(tmp_path):
    one = InboundMedia(content=b"1", content_type="image/png", filename="../../one.png", content_id="cid1")
    mail = received(one, InboundMedia(content=b"2", content_type="text/plain"), channel="email")
    first, second = mail.media.all()
    assert [(tmp_path / each.file.name).read_bytes() for each in (first, second)] == [b"1", b"2"]
    assert (first.content_id, mail.attachments) == ("cid1", [first.get_absolute_url(), second.get_absolute_url()])
    assert (tmp_path / first.file.name).stat().st_mode & 0o777 == 0o600


def test_a_mail_that_comes_twice_stores_its_files_once(tmp_path):
    for _ in range(2):
        received(InboundMedia(content=b"1"), channel="email")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == Media.objects.count() == 1


@pytest.mark.parametrize(
    ("limit", "content_type", "reason"),
    [({"MEDIA_MAX_BYTES": 3}, "image/png", "larger"), ({"MEDIA_TYPES": ["image/*"]}, "application/zip", "type")],
)
def test_what_is_over_a_limit_is_not_kept_and_says_why(client, settings, limit, content_type, reason):
    for name, value in limit.items():
        setattr(settings, name, value)
    media = received(InboundMedia(content=b"1234", content_type=content_type), channel="email").media.get()
    answer = client.get(media.get_absolute_url())
    assert (media.status, answer.status_code, answer.json()["code"]) == ("missing", 404, "media_missing")
    assert reason in answer.json()["detail"]


def test_a_fetched_file_is_bound_by_the_same_limits(settings):
    settings.MEDIA_TYPES = ["image/*"]
    with serving({"/a": file(b"MZ", Content_Type="application/x-msdownload")}) as server:
        assert fetched(picture_at(server, settings)).status == "missing"


def test_a_private_address_is_never_asked(client):
    media = fetched(received(InboundMedia(url="https://127.0.0.1:9/latest")).media.get())
    assert (media.status, media.attempts, media.next_attempt_at) == ("missing", 1, None)


def test_what_can_not_be_had_now_is_tried_again_later(settings):
    with serving({"/a": cut_off(b"")}) as server:
        media = fetched(picture_at(server, settings))
    assert (media.status, media.attempts) == ("waiting", 1)
    assert media.error
    assert media.next_attempt_at > timezone.now()


def test_what_can_not_be_had_ten_times_is_given_up(settings):
    with serving({"/a": cut_off(b"")}) as server:
        media = picture_at(server, settings)
        Media.objects.update(attempts=9)
        assert fetched(media).status == "missing"


def test_a_storage_that_is_away_loses_no_file(settings, tmp_path):
    (tmp_path / "file").write_text("where a directory should be")
    with serving({"/a": file(PNG, Content_Type="image/png")}) as server:
        media = picture_at(server, settings)
        settings.MEDIA_ROOT = tmp_path / "file" / "below"
        assert fetched(media).status == "waiting"
        assert media.error
        settings.MEDIA_ROOT = tmp_path
        Media.objects.update(next_attempt_at=timezone.now())
        assert fetched(media).status == "stored"


def test_a_message_that_is_deleted_while_its_file_is_fetched_stays_deleted():
    received(InboundMedia(url="https://127.0.0.1:9/"))
    [taken] = Media.objects.take_due(1)
    taken.fetch()
    Message.objects.all().delete()
    Media.objects.write_down([taken])
    assert not Media.objects.exists()


def test_one_task_at_a_time_fetches(settings):
    media = received(InboundMedia(url="https://127.0.0.1:9/")).media.get()
    with tasks._fetching:
        assert tasks.fetch_media() == "busy"
    media.refresh_from_db()
    assert media.attempts == 0


@pytest.mark.parametrize(("gone", "status"), [(True, 404), (False, 503)])
def test_a_file_that_the_storage_does_not_give_is_an_explained_answer(client, settings, tmp_path, gone, status):
    media = received(InboundMedia(content=b"1"), channel="email").media.get()
    path = tmp_path / media.file.name
    path.unlink()
    if not gone:
        path.mkdir()
    answer = client.get(media.get_absolute_url())
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")


def test_a_file_that_somebody_fetches_is_taken_by_nobody_else(settings):
    received(InboundMedia(url="https://api.twilio.com/x"))
    assert len(Media.objects.take_due(5)) == 1
    assert Media.objects.take_due(5) == []


def test_staff_see_files_and_strangers_do_not(client, admin_client, django_user_model, settings):
    settings.TRUST_LOCAL_REQUESTS = False
    url = received(InboundMedia(content=b"1", content_type="image/png"), channel="email").media.get().get_absolute_url()
    assert b"".join(admin_client.get(url)) == b"1"
    assert client.get(url).status_code == 401
    client.force_login(django_user_model.objects.create_user("reader"))
    assert client.get(url).status_code == 401
