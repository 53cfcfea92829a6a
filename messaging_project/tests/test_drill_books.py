"""The books of the drills: every way in which they may differ turns a drill red."""

import pytest

from messaging_project.drills.books import Allowance, Entry, Row, compare


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
