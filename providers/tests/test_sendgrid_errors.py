"""SendGrid's tables of errors, row by row through the adapter."""

import json
import time

import pytest

from providers.errors import Misconfigured, NotSent, Rejected, Uncertain
from providers.sendgrid_errors import FAILURES, REFUSALS
from providers.tests.odd_server import http
from providers.tests.test_sendgrid import errors, outcome_of, report

EVERY = [*REFUSALS, *FAILURES]
each_refusal = pytest.mark.parametrize("row", REFUSALS, ids=lambda row: f"{row.status} {row.about}".strip())
each_failure = pytest.mark.parametrize("row", FAILURES, ids=lambda row: f"{row.event} {row.about}")
# Fields as SendGrid writes them, with numbers and parts.
FIELDS = {"from": "from.email", "personalizations.to": "personalizations.0.to.0.email", "content": "content.0.value"}


def refused(status, *complaints):
    return outcome_of(http(status, json.dumps({"errors": complaints})))


def statuses(outcome):
    return {row.status for row in REFUSALS if row.outcome is outcome}


@each_refusal
def test_an_answer_that_complains_about_this_has_the_rows_outcome_and_sentence(row):
    is_message = " " in row.about
    field = None if is_message or not row.about else FIELDS.get(row.about, row.about)
    found = refused(row.status, {"message": row.about if is_message else "you@example.com!", "field": field})
    assert (type(found), found.code) == (row.outcome, str(row.status))
    assert found.message == (f"{row.sentence[:-1]} (field {field})." if field else row.sentence)


@each_refusal
def test_without_sendgrids_errors_only_some_statuses_are_believed(row):
    believed = row.status in {401, 413, 429}
    found = outcome_of(http(row.status, "<html>No</html>", "text/html"))
    assert type(found) is (row.outcome if believed else Uncertain)


@each_failure
def test_an_event_with_this_reason_says_why(row):
    about = {"reason": row.about} if row.event == "dropped" else {"status": row.about.replace("X", "5")}
    if row.event == "bounce" and not row.about.startswith("X."):
        about = {"bounce_classification": row.about}
    found = report(event=row.event, **about)
    assert (found.status, found.error_message, found.opt_out) == ("undelivered", row.sentence, row.opt_out)
    assert found.error_code == about.get("status", row.event)


@pytest.mark.parametrize("row", EVERY, ids=lambda row: row.sentence[:40])
def test_every_row_is_a_sentence_that_names_nobody_and_has_a_page(row):
    assert row.sentence[0].isupper()
    assert row.sentence.endswith(".")
    assert not set("{}<>%+@") & set(row.sentence)
    assert row.page.startswith("https://")


def test_no_row_hides_another():
    keys = [row[:2] for row in EVERY]
    assert len(set(keys)) == len(keys)
    for status in {row.status for row in REFUSALS}:
        abouts = [row.about for row in REFUSALS if row.status == status]
        assert "" not in abouts[:-1]


def test_only_what_fails_every_mail_pauses_the_account():
    assert statuses(Misconfigured) == {401, 403, 404, 405, 451}
    assert statuses(NotSent) == {429}
    assert statuses(Uncertain) == {500, 503}


def test_a_refused_sender_is_no_trouble_of_the_account():
    for field in ("from", "from.email"):
        assert type(outcome_of(errors(403, field))) is Rejected
    for field in ("From", "sender", "reply_to", "personalizations.0.to"):
        assert type(outcome_of(errors(403, field))) is Rejected
    for field in (None, ""):
        assert type(outcome_of(errors(403, field))) is Misconfigured


def test_credits_used_up_are_told_apart_from_a_bad_key():
    used_up = refused(401, {"message": "Maximum credits exceeded", "field": None, "help": None})
    bad_key = refused(401, {"message": "Permission denied, wrong credentials", "field": None, "help": None})
    assert {type(used_up), type(bad_key)} == {Misconfigured}
    assert "used up" in used_up.message
    assert "API key" in bad_key.message


@pytest.mark.parametrize("status", [302, 418, 499, 500, 502, 503, 504])
def test_what_no_row_says_the_status_says(status):
    listed = refused(status, {"message": "No", "field": None})
    assert type(listed) is (Rejected if 400 <= status < 500 else Uncertain)
    assert type(outcome_of(http(status, "No"))) is Uncertain


@pytest.mark.parametrize("complaint", [None, 5, [], {"field": "from"}, {"message": None}, {"message": [], "field": {}}])
def test_odd_complaints_are_read_without_harm(complaint):
    assert type(refused(400, complaint)) in {Rejected, Uncertain}


def test_the_class_of_a_status_does_not_change_its_sentence_and_an_unlisted_one_takes_the_classification():
    assert report(event="bounce", status="4.2.2").error_message == "The mailbox is full."
    unlisted = {"event": "bounce", "status": "5.9.9", "reason": "550 <you@example.com>"}
    assert report(**unlisted).error_message == "The receiving server refused the message (status 5.9.9)."
    assert report(**unlisted, bounce_classification="Reputation").error_message.endswith("distrusts the sender.")
    assert report(event="bounce", bounce_classification="New").error_message.endswith("refused the message.")


def test_a_drop_is_known_with_or_without_the_remark_behind_its_reason():
    told = [
        report(event="dropped", reason=f"Spam Content{remark}") for remark in ("", " (if Spam Checker app is enabled)")
    ]
    assert {each.error_message for each in told} == {"SendGrid did not try: the content looks like spam."}
    assert report(event="dropped", reason="you@example.com").error_message.endswith("without trying.")


@pytest.mark.parametrize(
    ("reset", "wish", "heard"),
    [
        ("", "", None),
        ("-5", "-5", None),
        ("NaN", "NaN", None),
        ("1e9", "", None),
        ("inf", "3", 3),
        ("9" * 4000, "3", 3),
        ("0", "3", 0),
        ("1767225600000", "3", 3),
        ("soon", "Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_an_absurd_reset_is_no_wish_or_a_finite_one(reset, wish, heard):
    assert outcome_of(errors(429, None, X_RateLimit_Reset=reset, Retry_After=wish)).retry_after == heard


def test_a_reset_in_a_year_is_passed_on_as_it_is():
    found = outcome_of(errors(429, None, X_RateLimit_Reset=str(int(time.time()) + 31_536_000))).retry_after
    assert 31_535_000 < found <= 31_536_000
