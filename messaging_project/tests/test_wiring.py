"""The files that have to agree with each other: settings, routes, compose, the local stack."""

import gc
import re
from unittest.mock import Mock

import pytest
import yaml
from celery.signals import worker_ready
from django.conf import settings
from django.core.management import call_command

from messaging_project import garbage, web
from messaging_project.celery import QUEUES, ROUTES, app
from messaging_project.compose.file import read
from messaging_project.local.settings_file import setting_names
from providers.routes import RINGS

ROOT = settings.BASE_DIR
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
REQUIRED = re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text())
WORKERS = {name: service for name, service in SERVICES.items() if " worker " in str(service.get("command"))}


def settings_read():
    """The names that settings.py reads from the environment, in its order."""
    source = (ROOT / "messaging_project" / "settings.py").read_text()
    return list(dict.fromkeys(re.findall(r'env\.\w+\("([A-Z_]+)"', source)))


def queues_of(command):
    return re.search(r"-Q (\S+)", command)[1].split(",")


def threads_of(service):
    return int(re.search(r"-c (\d+)", WORKERS[service]["command"])[1])


def test_every_task_has_a_route_and_every_route_a_task():
    app.loader.import_default_modules()
    assert {name for name in app.tasks if not name.startswith("celery.")} == set(ROUTES)


@pytest.mark.parametrize("channel", ["sms", "mms", "email"])
def test_a_channels_task_goes_to_the_queue_of_its_name(channel):
    options = app.amqp.router.route({}, f"conversations.send_{channel}")
    assert options["queue"].name == channel


def test_beat_rings_for_sweeps_that_exist_on_a_queue_that_exists():
    app.loader.import_default_modules()
    for entry in app.conf.beat_schedule.values():
        assert entry["task"] in app.tasks
        assert ROUTES[entry["task"]] in QUEUES


def test_every_queue_has_a_worker_service_in_compose_and_no_service_another_queue():
    served = [queue for worker in WORKERS.values() for queue in queues_of(worker["command"])]
    assert sorted(served) == sorted(QUEUES)


def test_no_long_task_of_the_sweeper_keeps_the_next_sweep_from_its_turn():
    long_ones = {name for name, queue in ROUTES.items() if queue == "sweep"} - {"conversations.sweep"}
    assert threads_of("sweeper") > len(long_ones)


@pytest.mark.parametrize("channel", ["sms", "mms", "email"])
def test_a_worker_answers_as_many_rings_at_once_as_its_accounts_have_connections_for(channel):
    assert threads_of(f"worker-{channel}") == RINGS


def test_beat_runs_once_in_compose_and_not_inside_a_worker():
    assert [name for name, service in SERVICES.items() if " beat " in str(service.get("command"))] == ["beat"]
    assert not [name for name, worker in WORKERS.items() if " -B" in worker["command"]]


def test_a_worker_is_asked_for_its_health_by_the_name_it_goes_by():
    for worker in WORKERS.values():
        queue = worker["environment"]["QUEUE"]
        assert f"-n {queue}@%h" in worker["command"]
        assert 'manage.py worker_health "$$QUEUE@$$HOSTNAME"' in worker["healthcheck"]["test"][1]


def test_flower_in_compose_lies_under_flower_wants_a_password_and_changes_nothing():
    flower = SERVICES["flower"]
    assert "--url_prefix=flower" in flower["command"]
    assert "--read_only" in flower["command"]
    assert flower["environment"]["FLOWER_BASIC_AUTH"].startswith("admin:${FLOWER_PASSWORD:?")
    assert all(port.startswith("${FLOWER_BIND:-127.0.0.1:") for port in flower["ports"])
    assert "/flower/healthcheck" in flower["healthcheck"]["test"][-1]


def test_nothing_is_published_in_compose_but_the_web_service_and_flower_and_those_to_this_host_alone():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"web", "flower"}
    for ports in published.values():
        assert all(re.match(r"\$\{\w+_BIND:-127\.0\.0\.1:\d+\}", port) for port in ports)
    assert not [name for name, service in SERVICES.items() if service.get("network_mode") or service.get("privileged")]


def test_what_is_ours_in_compose_has_no_right_and_nothing_to_write_to():
    for name in SERVICES.keys() - {"db", "redis"}:
        found = [SERVICES[name][key] for key in ("read_only", "tmpfs", "cap_drop", "security_opt")]
        assert found == [True, ["/tmp"], ["ALL"], ["no-new-privileges:true"]], name


def test_postgresql_in_compose_quotes_no_row_in_its_log():
    assert "log_min_messages=log" in SERVICES["db"]["command"]


def test_who_calls_others_in_compose_may_finish_before_it_is_killed():
    longest_call = max(settings.PROVIDER_TIMEOUT_SECONDS, settings.EVENT_TIMEOUT_SECONDS) + 5
    composed = read(ROOT / "docker-compose.yml", dict.fromkeys(REQUIRED, "given"), dotenv={}, profiles=["test"])
    for name in (*WORKERS, "web"):
        assert longest_call < composed[name].stop_seconds, name
    assert longest_call < web.graceful_timeout < composed["web"].stop_seconds


def test_whatever_runs_in_compose_comes_back_and_is_asked_for_its_health():
    for name, service in SERVICES.items():
        if name == "migrate":
            continue
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"].get("test") or name == "beat", name


def test_every_variable_in_compose_stands_in_the_example():
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    set_there = set(SERVICES["web"]["environment"])
    assert used | set_there <= setting_names(ROOT / ".env.example")


def test_every_setting_reaches_the_containers():
    local_only = {"VAR_DIR", "DEBUG", "SANDBOX_PORT", "SANDBOX_LATENCY_MS", "SANDBOX_CALLBACK_DELAY_MS"}
    local_only |= {"SANDBOX_LEDGER", "SANDBOX_SENDGRID_PRIVATE_KEY", "ENV_FILE"}
    assert set(settings_read()) - local_only <= set(SERVICES["web"]["environment"])


def test_redis_in_compose_persists_and_never_evicts():
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_settings_are_read_in_the_order_of_the_example_and_all_stand_there():
    read = settings_read()
    listed = re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    read.remove("ENV_FILE")  # where the file itself lies
    assert read == [name for name in listed if name in read]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-local.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned(name):
    lines = (ROOT / name).read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith(("#", "-r"))]
    assert requirements
    assert not [line for line in requirements if not re.fullmatch(r"[\w.-]+(\[[\w,]+\])?==[\w.]+", line)]


@pytest.mark.django_db
def test_every_model_stands_in_a_migration():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.fixture
def searched_as_before():
    """This process's own way of looking for garbage, again afterwards."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def begin_as_a_worker():
    worker_ready.send(sender=Mock(hostname="sms@here", app=app))


@pytest.mark.parametrize("begin", [lambda: web.post_worker_init(None), begin_as_a_worker])
def test_web_processes_and_workers_search_for_garbage_seldom(begin, searched_as_before):
    begin()
    assert gc.get_threshold() == garbage.THRESHOLDS
    assert gc.get_freeze_count() > 0
