"""The benchmarks: the arithmetic of their table."""

import pytest

from messaging_project.benchmarks.__main__ import QUESTIONS
from messaging_project.benchmarks.books import Ledger, latencies, unsent_and_doubled
from messaging_project.benchmarks.question import Finding, Goal, Row, Run
from messaging_project.benchmarks.table import line_of


def finding(*values, yardstick=(), goal=None, **faults):
    runs = {"ours": [Run(figures={"rate": value}, **faults) for value in values]}
    runs["theirs"] = [Run(figures={"rate": value}) for value in yardstick]
    return Finding.of(Row(name="a", unit="/s", figure="rate", yardstick="theirs" if yardstick else "", goal=goal), runs)


def test_a_row_is_the_median_by_the_median_of_its_yardstick():
    row = finding(90, 400, 100, yardstick=(50, 40, 900)).record()
    assert (row["value"], row["yardstick"], row["yardstick_value"], row["ratio"]) == (100, "theirs", 50, 2)


@pytest.mark.parametrize(
    ("goal", "ok"),
    [
        (Goal(least_ratio=2), True),
        (Goal(least_ratio=2.1), False),
        (Goal(most_ratio=1.9), False),
        (Goal(least=100, most=100), True),
        (Goal(least=101, least_ratio=2), False),
        (Goal(least=100, least_ratio=2.1), False),
        (None, True),
    ],
)
def test_it_is_ok_when_all_of_its_goal_is_met(goal, ok):
    assert finding(100, yardstick=(50,), goal=goal).ok == ok


def test_without_a_yardstick_no_ratio_is_met():
    assert not finding(100, goal=Goal(least_ratio=0)).ok


def test_a_goal_says_what_it_asks_for():
    assert Goal(least=10_000, least_ratio=0.25).in_words("messages/s") == "≥ 10,000 messages/s and ≥ 0.25 ×"


@pytest.mark.parametrize("fault", ["unsent", "doubled"])
def test_a_row_that_lost_or_doubled_a_message_is_void(fault):
    row = finding(100, yardstick=(50,), **{fault: 1})
    assert (row.record()["value"], row.record()["ratio"], row.ok) == (None, None, False)
    assert line_of(row).endswith(f"void: 1 {fault}")


def test_errors_are_counted_and_do_not_make_it_void():
    row = finding(100, 100, errors=2)
    assert row.ok
    assert line_of(row).endswith("–: 4 errors")


def test_what_was_not_accepted_and_yet_was_offered_is_one_too_many():
    assert unsent_and_doubled(["a", "b"], ["b", "b", "c"]) == (1, 2)
    assert unsent_and_doubled(["a", "b"], ["b", "a"]) == (0, 0)


def test_a_ledger_is_read_on_from_the_page_that_was_turned(tmp_path):
    file = tmp_path / "ledger.jsonl"
    ledger = Ledger(file)
    file.write_text('{"recipient": "a", "details": {}}\n')
    ledger.turn_over()
    with file.open("a") as lines:
        lines.write('{"recipient": "b", "at": "1970-01-01T00:00:09+00:00", "details": {}}\n{"told": 1}\n{"half')
    assert [line["recipient"] for line in ledger.read_on()] == ["b"]
    assert latencies([("b", 4.0), ("c", 4.0)], ledger.read_on()) == [5.0]


def test_every_row_names_sides_that_are_measured():
    for question in QUESTIONS.values():
        assert set(question.sides) == set(question.sizes)
        for row in question.rows:
            assert {row.side, row.yardstick or row.side} <= set(question.sides)
