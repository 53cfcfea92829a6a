"""What operators are given, held to what there is: alert rules, dashboard, runbook."""

import json
import re
from collections import Counter

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands
from prometheus_client.parser import text_string_to_metric_families

from messaging_project.celery import QUEUES
from messaging_project.models import Tally
from messaging_project.tally import of_delivery

DOCS = settings.BASE_DIR / "docs"
RULES = [
    rule for group in yaml.safe_load((DOCS / "ops" / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
PANELS = json.loads((DOCS / "ops" / "dashboard.json").read_text())["panels"]
SCALERS = [each["spec"] for each in yaml.safe_load_all((DOCS / "ops" / "kubernetes" / "scaling.yaml").read_text())]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
EXPRESSIONS += [trigger["metadata"]["query"] for scaler in SCALERS for trigger in scaler["triggers"]]
# Words of PromQL, and what Prometheus itself knows of what it reads.
NOT_OURS = {"sum", "max", "by", "rate", "increase", "histogram_quantile", "up"}


def metrics_in(expression):
    """Metric names of an expression: words outside of labels, ranges and groupings."""
    bare = re.sub(r'\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)|"[^"]*"', " ", expression)
    return set(re.findall(r"[a-z_]+", bare)) - NOT_OURS


def labels_in(expression):
    grouped = re.findall(r"by \(([^)]*)\)", expression)
    matched = re.findall(r"(\w+)(?:=~|!=|=)\"", expression)
    return {label.strip() for group in grouped for label in group.split(",")} | set(matched)


@pytest.fixture
def exported(client, settings, db):
    """The labels of each metric that /metrics exports once everything there is to count was counted."""
    settings.TRUST_LOCAL_REQUESTS = True
    Tally.objects.add(
        of_delivery("sms", 1.0)
        + Counter(
            {
                ("messages_total", "outbound", "sms", "sent", "twilio"): 1,
                ("provider_errors_total", "twilio", "rejected"): 1,
                ("webhooks_total", "twilio", "status", "applied"): 1,
                ("worker_restarts_total", "sms"): 1,
            }
        )
    )
    client.get("/live")
    families = text_string_to_metric_families(client.get("/metrics").content.decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def test_every_metric_that_is_looked_at_is_exported_with_the_labels_that_are_asked_for(exported):
    for expression in EXPRESSIONS:
        found = metrics_in(expression)
        assert found <= set(exported), expression
        if found:
            assert labels_in(expression) <= set.union(*(exported[name] for name in found)), expression


@pytest.mark.parametrize("expression", [each for each in EXPRESSIONS if metrics_in(each)])
def test_what_every_web_process_tells_alike_does_not_add_up_and_what_each_counts_for_itself_does(expression):
    innermost = re.findall(r"\b(?:sum|max)\b", expression)[-1]
    assert innermost == ("sum" if all(name.startswith("http_") for name in metrics_in(expression)) else "max")


@pytest.fixture
def selected(client, settings, db):
    """What an expression like `messages_total{status="unresolved"}` selects on an empty database: labels and value."""
    settings.TRUST_LOCAL_REQUESTS = True
    families = text_string_to_metric_families(client.get("/metrics").content.decode())
    samples = [sample for family in families for sample in family.samples]

    def matches(sample, labels):
        wanted = re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', labels)
        return all(
            bool(re.fullmatch(value if how == "=~" else re.escape(value), sample.labels[label])) != (how == "!=")
            for label, how, value in wanted
        )

    return lambda name, labels="": [
        (sample.labels, sample.value) for sample in samples if sample.name == name and matches(sample, labels)
    ]


def test_what_is_looked_at_as_growing_is_exported_as_0_before_it_first_happens(selected):
    grows = {found for each in EXPRESSIONS for found in re.findall(r"(?:rate|increase)\((\w+)(?:{(.*?)})?\[", each)}
    # What the web processes count begins anew with each of them, and is asked for many a second.
    of_the_database = {(name, labels) for name, labels in grows if not name.startswith("http_")}
    assert len(of_the_database) > 5
    for name, labels in of_the_database:
        assert {value for _, value in selected(name, labels)} == {0}, (name, labels)


def test_alerts_tell_of_the_first_time_at_every_account_and_queue(selected):
    def values(name, labels, *of):
        return {tuple(found[label] for label in of) for found, _ in selected(name, labels)}

    unresolved = values("messages_total", 'status="unresolved"', "provider", "type")
    assert unresolved == {("twilio", "sms"), ("twilio", "mms"), ("sendgrid", "email")}
    refused = values("webhooks_total", 'kind="refused", result=~"forged|unsigned"', "provider", "result")
    assert refused == {(door, reason) for door in ("twilio", "sendgrid") for reason in ("forged", "unsigned")}
    assert values("worker_restarts_total", "", "queue_name") == {(queue,) for queue in QUEUES}


def test_the_contracts_metrics_are_all_there(exported):
    assert {
        "messages_total",
        "http_requests_total",
        "http_request_duration_seconds_bucket",
        "message_delivery_seconds_bucket",
        "queue_depth",
        "broker_queue_length",
        "oldest_pending_seconds",
        "provider_errors_total",
        "messages_uncertain",
        "webhooks_total",
    } <= set(exported)


def test_every_alert_has_its_page_and_every_page_its_alert():
    linked = {rule["annotations"]["runbook"]: rule["alert"] for rule in RULES}
    pages = {f"docs/runbook/{page.name}": page.read_text().splitlines()[0] for page in DOCS.glob("runbook/*.md")}
    assert pages == {path: f"# {alert}" for path, alert in linked.items()}


@pytest.mark.parametrize("page", sorted(DOCS.glob("runbook/*.md")), ids=lambda page: page.stem)
def test_a_page_says_what_it_means_what_to_look_at_and_what_to_do(page):
    assert re.findall(r"^\*\*(.+?)\.\*\*", page.read_text(), re.MULTILINE) == ["Means", "Look at", "Do"]


def test_commands_of_the_runbook_exist():
    named = set(re.findall(r"manage\.py (\w+)", "".join(page.read_text() for page in DOCS.glob("[or]*/*.md"))))
    assert named <= set(get_commands())
    assert "resume" in named
