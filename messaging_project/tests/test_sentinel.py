"""Redis behind Sentinel: a real failover, seen by our own client and by the one that publishes rings."""

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import redis
from kombu import Connection

from conversations.redis_url import TIMEOUTS, redis_at, sentinel_options
from messaging_project.local.binaries import valkey_program
from messaging_project.local.processes import spawn, stop, wait_until
from messaging_project.local.servers import SERVER_ENVIRONMENT, Valkey, free_port

MASTER, PASSWORD = "switchboard", "test-sentinel"
AWAY = (redis.RedisError, OSError)


@contextmanager
def sentinel(place: Path, master: Valkey):
    """A Sentinel that watches a server; where it listens."""
    place.mkdir()
    port, configuration = free_port(), place / "sentinel.conf"
    configuration.write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {PASSWORD}\ndir {place}\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {master.port} 1\nsentinel auth-pass {MASTER} {master.password}\n"
        f"sentinel down-after-milliseconds {MASTER} 300\nsentinel failover-timeout {MASTER} 3000\n"
    )
    command = [str(valkey_program()), str(configuration), "--sentinel"]
    process = spawn(command, environment=SERVER_ENVIRONMENT, directory=place, output=subprocess.DEVNULL)
    try:
        yield port
    finally:
        stop({process: signal.SIGTERM}, seconds=5)


def answers(ask, wanted):
    """Whether a question is answered as wanted, by now."""
    try:
        return ask() == wanted
    except AWAY:
        return False


def replicas(port):
    with redis.Redis(port=port, password=PASSWORD) as client:
        return len(client.sentinel_slaves(MASTER))


def publish(broker, text):
    with broker.clone() as connection, connection.SimpleQueue("test") as queue:
        queue.put(text)
        return True


def test_after_a_failover_both_clients_speak_to_the_new_master(tmp_path, settings):
    settings.REDIS_SENTINEL_MASTER, settings.REDIS_SENTINEL_PASSWORD = MASTER, PASSWORD
    first, second = (Valkey(tmp_path / name, password="test", durable=False) for name in ("first", "second"))
    with first, second, sentinel(tmp_path / "sentinel", first) as port:
        with redis.Redis.from_url(second.url) as client:
            client.config_set("masterauth", first.password)
            client.replicaof("127.0.0.1", first.port)
        url = f"sentinel://:{first.password}@127.0.0.1:9/0;sentinel://:{first.password}@127.0.0.1:{port}/0"
        client, broker = redis_at(url, TIMEOUTS), Connection(url, transport_options=sentinel_options(url, TIMEOUTS))
        assert wait_until(lambda: answers(lambda: replicas(port), 1), seconds=20)
        assert client.set("before", "1")
        assert publish(broker, "before")
        assert wait_until(lambda: answers(lambda: client.wait(1, 100), 1), seconds=10)
        os.kill(first.process.pid, signal.SIGKILL)
        assert wait_until(
            lambda: answers(lambda: client.get("before") == b"1" and client.set("after", "1"), True), seconds=20
        )
        assert wait_until(lambda: answers(lambda: publish(broker, "after"), True), seconds=20)
        with redis.Redis.from_url(second.url) as new_master:
            assert new_master.get("after") == b"1"
            assert new_master.llen("test") == 2
