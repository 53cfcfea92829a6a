import json
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations.models import Conversation

pytestmark = pytest.mark.django_db

KEYS = [
    "id", "participant_from", "participant_to", "channel_type", "type", "status", "title", "last_message_at",
    "message_count", "unread_count", "created_at", "updated_at", "metadata", "messages",
]  # fmt: skip


def listed(client, query=""):
    response = client.get(f"/api/v1/conversations/?{query}")
    assert response.status_code == 200, response.content
    return [conversation["id"] for conversation in response.json()["conversations"]]


def empty_conversation(number):
    return Conversation.objects.create(
        participant_from="ann@example.com", participant_to=f"bob{number}@example.com", channel_type="email"
    )


def test_a_conversation_shows_its_keys_in_order(client, accept):
    message = accept()
    conversation = client.get(f"/api/v1/conversations/{message.conversation_id}/").json()
    assert list(conversation) == KEYS
    assert (conversation["message_count"], conversation["messages"]) == (1, None)


def test_the_list_is_by_last_message_and_those_without_come_last(client, accept):
    empty = empty_conversation(1)
    first, second = accept(recipient="+15550000001"), accept(recipient="+15550000002")
    accept(recipient="+15550000001")
    assert listed(client) == [str(first.conversation_id), str(second.conversation_id), str(empty.pk)]


@pytest.mark.parametrize("path", ["conversations", "messages"])
def test_a_page_is_walked_in_an_index_from_the_front_and_from_a_cursor(client, accept, path):
    for recipient in ("+15559876541", "+15559876542"):
        accept(recipient=recipient)
    empty_conversation(1), empty_conversation(2)
    with connection.cursor() as cursor, CaptureQueriesContext(connection) as asked:
        # Of a nearly empty table everything may be sorted: left are those ways that lead through a large one.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        following = client.get(f"/api/v1/{path}/?limit=1").json()["next"]
        while following is not None:
            following = client.get(f"/api/v1/{path}/?limit=1&cursor={following}").json()["next"]
        pages = [each["sql"] for each in asked.captured_queries if each["sql"].endswith("LIMIT 2")]
        plans = []
        for each in pages:
            cursor.execute(f"EXPLAIN {each}")
            plans.append(str(cursor.fetchall()))
    assert len(plans) >= 2
    assert [plan for plan in plans if "Sort" in plan or "latest_first" not in plan] == []


def test_cursors_walk_through_those_without_messages_too(client, accept):
    ids = [str(empty_conversation(number).pk) for number in range(3)]
    ids += [str(accept(recipient=f"+1555000000{number}").conversation_id) for number in range(3)]
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/api/v1/conversations/?limit=2{cursor and f'&cursor={cursor}'}").json()
        seen += [conversation["id"] for conversation in page["conversations"]]
        cursor = page["next"]
    assert seen == ids[::-1]


def test_filters_narrow_the_list(client, accept):
    sms = str(accept().conversation_id)
    thread = str(accept("thread").conversation_id)
    email = str(empty_conversation(1).pk)
    Conversation.objects.filter(pk=email).update(status="archived", unread_count=2)
    for query, expected in {
        "participant=%2B15559876543": {sms, thread},
        "participant=+15551234567": {sms, thread},
        "participant=Bob1@EXAMPLE.com": {email},
        "channel_type=email": {email},
        "status=archived": {email},
        "type=thread": {thread},
        "unread=true": {email},
        "unread=false": {sms, thread},
    }.items():
        assert set(listed(client, query)) == expected, query


@pytest.mark.parametrize(
    "query", ["status=open", "unread=1", "type=x", "channel_type=mms", "participant=%2A", "cursor=!"]
)
def test_a_bad_query_value_is_422(client, query):
    assert client.get(f"/api/v1/conversations/?{query}").status_code == 422


def test_the_newest_hundred_messages_come_oldest_first_with_a_link_to_the_rest(client, accept):
    messages = [accept(body=str(number)) for number in range(102)]
    path = f"/api/v1/conversations/{messages[0].conversation_id}"
    response = client.get(f"{path}?include_messages=true")
    assert [message["body"] for message in response.json()["messages"]] == [str(number) for number in range(2, 102)]
    assert response["Link"] == f'<{path}/messages>; rel="messages"'
    page = client.get(f"{path}/messages?limit=1").json()
    assert (page["total"], page["messages"][0]["body"]) == (102, "101")


@pytest.mark.parametrize("path", ["", "/messages"])
def test_an_unknown_conversation_is_404(client, path):
    response = client.get(f"/api/v1/conversations/{uuid4()}{path}")
    assert (response.status_code, json.loads(response.content)["code"]) == (404, "not_found")
