"""The books of the drills: every way in which they may differ turns a drill red."""

import json
from datetime import UTC, datetime, timedelta
from math import inf

import pytest

from messaging_project.drills.books import (
    Allowance,
    Entry,
    Row,
    compare,
    longest_wait,
    most_in_a_second,
    seconds_until_first,
)
from messaging_project.drills.carriers import SANDBOX, Carrier
from messaging_project.drills.ledgers import entries


def books(status="delivered", *, kind="sms", sent=1, accepted=("a",), error_code="", allow=None, **row):
    rows = [Row(id="a", type=kind, status=status, error_code=error_code, **row)] if status else []
    return compare(accepted, rows, [Entry(message_id="a")] * sent, allow or Allowance()).problems


def test_a_delivered_message_breaks_nothing():
    assert books() == {}


def test_an_accepted_message_without_a_row_is_lost():
    assert books(status=None, sent=0) == {"lost": ["a"]}


def test_a_message_that_only_the_provider_knows_is_lost():
    assert books(status=None, accepted=()) == {"lost": ["a"]}


def test_a_message_said_to_be_sent_that_the_provider_does_not_have_is_lost():
    assert books(sent=0) == {"lost": ["a"]}


@pytest.mark.parametrize("status", ["delivered", "pending", "failed", "unresolved"])
def test_two_requests_for_one_message_are_a_double_however_it_ended(status):
    assert "doubled" in books(status, kind="email", sent=2, allow=Allowance(doubtful_emails=1))


def test_a_message_whose_answer_never_reached_the_client_is_held_to_the_same_rules():
    assert books(sent=2, accepted=()) == {"doubled": ["a"]}


@pytest.mark.parametrize("status", ["pending", "sending", "uncertain", "sent"])
def test_a_message_that_came_to_no_end_is_stuck(status):
    assert books(status) == {"stuck": ["a"]}


def test_without_reports_sent_is_an_end():
    assert books("sent", allow=Allowance(reports_dropped=True)) == {}


@pytest.mark.parametrize("status", ["failed", "expired", "canceled"])
def test_an_end_unsent_that_the_drill_does_not_explain_is_a_problem(status):
    assert books(status, sent=0, error_code="21211") == {"unexplained end": ["a"]}
    assert books(status, sent=0, error_code="21211", allow=Allowance(end_codes={"21211"})) == {}


def test_failed_is_a_problem_when_the_provider_has_the_message_all_the_same():
    assert books("failed", error_code="x", allow=Allowance(end_codes={"x"})) == {"unexplained end": ["a"]}


def test_a_status_that_contradicts_the_providers_report_is_a_problem():
    assert books("undelivered") == {"wrong end": ["a"]}


def test_a_delivery_counts_once():
    assert books(deliveries=2) == {"counted twice": ["a"]}


def test_a_text_is_never_left_unresolved():
    assert books("unresolved", allow=Allowance(doubtful_emails=1)) == {"unresolved": ["a"]}


def test_as_many_mails_may_stay_unresolved_as_there_were_doubts():
    assert books("unresolved", kind="email") == {"unresolved": ["a"]}
    assert books("unresolved", kind="email", allow=Allowance(doubtful_emails=1)) == {}


def test_one_wish_makes_one_message():
    rows = [Row(id=each, type="sms", status="delivered", wish="Hello") for each in "ab"]
    entries = [Entry(message_id=each) for each in "ab"]
    assert compare("ab", rows, entries, Allowance()).problems == {"made twice": ["b"]}


def at(second):
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)


def carried(message_id, second, account="twilio"):
    return Entry(message_id=message_id, account=account, at=at(second))


@pytest.fixture
def carrier(tmp_path):
    """A sandbox that does not run and has this ledger: (provider, message id, recipient)."""

    def make(*lines, suffix=""):
        ledger = tmp_path / f"ledger{suffix}.jsonl"
        names = ("provider", "message_id", "recipient")
        whole = (
            {**dict(zip(names, line, strict=True)), "sender": "us", "at": at(1).isoformat(), "details": {}}
            for line in lines
        )
        ledger.write_text("".join(json.dumps(line) + "\n" for line in whole) + '{"told": 1}\n')
        return Carrier("sandbox", SANDBOX, ledger, suffix)

    return make


def test_a_message_in_the_books_of_two_accounts_is_a_double(carrier):
    both = carrier(("twilio", "a", "+1")), carrier(("twilio", "a", "+1"), suffix="_backup")
    found = entries(both, at(0))
    assert [entry.account for entry in found] == ["twilio", "twilio_backup"]
    assert compare(
        "a", [Row(id="a", type="sms", status="delivered", account="twilio")], found, Allowance()
    ).problems == {"doubled": ["a"]}


def test_a_ledger_tells_what_is_reported_and_nothing_from_before_the_drill(carrier):
    lines = ("twilio", "a", "+15005530003"), ("sendgrid", "b", "bounce@x.com"), ("sendgrid", "c", "bob@x.com")
    ledger = carrier(*lines, ("smtp", "d", "bounce@x.com"))
    assert [entry.outcome for entry in entries([ledger], at(0))] == ["undelivered", "undelivered", "delivered", "sent"]
    assert entries([ledger], at(2)) == []


@pytest.mark.parametrize(("account", "problems"), [("smtp", {}), ("smtp_backup", {}), ("sendgrid", {"stuck": ["a"]})])
def test_what_a_mail_server_took_is_sent_for_good(account, problems):
    row = Row(id="a", type="email", status="sent", account=account)
    entry = Entry(message_id="a", account=account, outcome="sent")
    assert compare("a", [row], [entry], Allowance()).problems == problems


def test_nobody_reports_on_what_a_mail_server_took():
    row = Row(id="a", type="email", status="delivered", account="smtp")
    entry = Entry(message_id="a", account="smtp", outcome="sent")
    assert compare("a", [row], [entry], Allowance()).problems == {"wrong end": ["a"]}


def test_a_message_names_the_account_that_sent_it():
    row = Row(id="a", type="sms", status="delivered", account="twilio")
    assert compare("a", [row], [carried("a", 0, "twilio_backup")], Allowance()).problems == {"wrong account": ["a"]}


def test_the_next_account_carries_from_its_first_message_on():
    accepted = [carried("a", 1, "next"), carried("b", 4), carried("c", 7, "next"), carried("d", 6, "next")]
    assert seconds_until_first(accepted, "next", at(2)) == 4
    assert seconds_until_first(accepted, "next", at(8)) == inf


def test_the_longest_wait_is_that_of_a_message_asked_for_in_that_time():
    asked = {"a": at(1), "b": at(5), "c": at(6), "d": at(9)}
    accepted = [carried("a", 30), carried("b", 7), carried("c", 9), carried("d", 30)]
    assert longest_wait(asked, accepted, at(5), at(9)) == 3


def test_who_was_never_accepted_waits_for_ever():
    assert longest_wait({"a": at(5)}, [], at(5), at(9)) == inf


def test_a_second_is_any_second_not_one_of_the_clock():
    assert most_in_a_second(map(at, [0.0, 0.6, 1.5, 1.1, 1.55])) == 4
    assert most_in_a_second(map(at, [0, 1, 2])) == 1
