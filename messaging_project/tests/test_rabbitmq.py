"""A journey with RabbitMQ as the broker, where it is installed, on the processes of `make run`."""

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from messaging_project.local import control
from messaging_project.local.processes import spawn, stop, wait_until
from messaging_project.local.running import RunningStack, stack_environment
from messaging_project.local.servers import free_port
from messaging_project.local.settings_file import look
from messaging_project.tests.conftest import drop_own_database, own_databases
from messaging_project.tests.test_journeys import EMAIL, delivered, send

# What Debian's own program starts, without the change of account that only root may make.
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


@contextmanager
def rabbitmq(place: Path):
    """A RabbitMQ of our own; its URL."""
    port, epmd = free_port(), str(free_port())
    (place / "rabbitmq.conf").write_text(f"listeners.tcp.local = 127.0.0.1:{port}\nlog.console = true\n")
    (place / "plugins").write_text("[].\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": epmd,
        "RABBITMQ_NODENAME": f"switchboard{port}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(place),
        "RABBITMQ_LOG_BASE": str(place),
        "RABBITMQ_PID_FILE": str(place / "pid"),
    }
    process = spawn([str(PROGRAM)], environment=environment, directory=place, output=subprocess.DEVNULL)
    try:
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        stop({process: signal.SIGTERM}, seconds=20)
        subprocess.run(["epmd", "-port", epmd, "-kill"], env=environment, capture_output=True, check=False)


@pytest.fixture
def stack_on_rabbitmq(tmp_path, given_urls):
    if not PROGRAM.exists():
        pytest.skip("RabbitMQ is not installed: apt-get install rabbitmq-server")
    tmp_path.chmod(0o711)
    with rabbitmq(tmp_path) as url:
        more = {"SANDBOX_LATENCY_MS": "10", "SANDBOX_CALLBACK_DELAY_MS": "50", "RETRY_BASE_SECONDS": "0.5"}
        settings = look(stack_environment(tmp_path / "stack", BROKER_URL=url, **more, **own_databases(given_urls)))
        try:
            settings, supervisor = control.start_in_background(settings, throw_away=True)
            yield RunningStack(settings)
            control.stop(settings.var)
            supervisor.wait(10)
        finally:
            control.stop(settings.var)
            control.reset(settings.var)
            drop_own_database(given_urls, settings)


def test_messages_of_each_type_and_a_retry_travel_over_rabbitmq(stack_on_rabbitmq):
    stack = stack_on_rabbitmq
    mms = {"type": "mms", "attachments": ["https://example.com/image.jpg"]}
    delivered(stack, [send(stack, 1), send(stack, 2, **mms), send(stack, **EMAIL)])
    assert stack.post(f"{stack.sandbox_url}/faults", {"provider": "twilio", "fault": "429"}).status == 200
    delivered(stack, [send(stack, 3)])
    checks = stack.get("/health").json["checks"]
    assert {name: checks[name]["status"] for name in ("broker", "redis", "queues", "sweep")} == dict.fromkeys(
        ("broker", "redis", "queues", "sweep"), "ok"
    )
    assert wait_until(lambda: 'broker_queue_length{queue_name="sms"} 0.0' in stack.get("/metrics").text, seconds=10)
