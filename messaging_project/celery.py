"""The Celery app: its queues, which task goes where, and what beat rings.

The table of messages is the truth and the broker a doorbell: every setting here assumes that any ring may be lost or
doubled, so nothing is acknowledged late, nothing is retried by the broker and no result is kept.
"""

import logging
import os
from typing import Any

from celery import Celery, Task, bootsteps
from celery.exceptions import TaskPredicate
from celery.signals import (
    before_task_publish,
    celeryd_init,
    setup_logging,
    task_postrun,
    task_prerun,
    task_success,
    worker_ready,
)
from django.conf import settings
from django.dispatch import Signal
from kombu import Queue

from conversations.log_context import spoken_of
from conversations.redis_url import TIMEOUTS, sentinel_options
from messaging_project import logs
from messaging_project.garbage import search_seldom

logger = logging.getLogger(__name__)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "messaging_project.settings")

SWEEP_EVERY_SECONDS = 1.0
HEARTBEAT_EVERY_SECONDS = 5.0
say_alive, say_gone, say_started = Signal(), Signal(), Signal()
"""Sent with the `worker`'s name, the first also with the `parts` it works on, the last with its `queues`; the app
writes them down, as its models can't be imported before Django is ready."""

ROUTES = {
    "conversations.send_sms": "sms",
    "conversations.send_mms": "mms",
    "conversations.send_email": "email",
    "conversations.sweep": "sweep",
    "conversations.settle": "sweep",
    "conversations.fetch_media": "sweep",
    "conversations.redact": "sweep",
    "webhooks.sweep": "sweep",
    "webhooks.tell": "events",
}
QUEUES = tuple(dict.fromkeys(ROUTES.values()))

IS_AMQP = settings.BROKER_URL.startswith("amqp")


def transport_options() -> dict[str, Any]:
    """Return how the broker is spoken to: who publishes waits for a second at most, and does not try again."""
    if IS_AMQP:
        timeouts = {"connect_timeout": 0.5, "read_timeout": 1, "write_timeout": 1}
        return {"max_retries": 0, "confirm_publish": True, **timeouts}
    behind_sentinel = sentinel_options(settings.BROKER_URL, TIMEOUTS)
    return {**TIMEOUTS, "socket_timeout": 1, "health_check_interval": 10, **behind_sentinel}


class Crashed(Exception):
    """What is told, beyond the log, of the exception that ended a task: its kind, and where it was raised."""


class DiscreetTask(Task):  # type: ignore[type-arg]  # generic in the stubs only
    """Every task of ours: one that crashes sends no text of a row to whoever listens to its worker, such as Flower.

    Celery puts an exception and all that it was raised from into words, and PostgreSQL quotes rows in its own. So the
    log, which leaves these out, tells of the crash, and a `Crashed` takes its place, which Celery expects.
    """

    throws = (Crashed,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run for a worker. Raises `Crashed`, or what tells Celery to retry; called by ourselves, whatever happens."""
        if self.request.called_directly:
            return super().__call__(*args, **kwargs)
        try:
            return self.run(*args, **kwargs)
        except TaskPredicate:
            raise
        except Exception as error:
            logger.exception("the task crashed")
            raise Crashed(logs.named(error)).with_traceback(error.__traceback__) from None


app = Celery("messaging_project", task_cls=DiscreetTask)
app.conf.update(
    broker_url=settings.BROKER_URL,
    # Without timeouts a frozen broker blocks a publisher for ever, and lost packets leave a worker deaf for minutes.
    broker_transport_options=transport_options(),
    broker_heartbeat=30 if IS_AMQP else None,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # Declared one by one, or Flower shows them only once a worker has answered.
    task_queues=[Queue(name) for name in QUEUES],
    task_create_missing_queues=False,
    task_routes={task: {"queue": queue} for task, queue in ROUTES.items()},
    task_default_queue="sweep",
    # What workers can be told beyond what Celery knows.
    imports=["messaging_project.holding"],
    task_publish_retry=False,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    # A schedule in code needs no file: what beat forgets when it dies is due again a second later.
    beat_scheduler="celery.beat:Scheduler",
    # Sweeper and teller run without `-E`, and Flower switches no events on: three tasks a second would bury the rest.
    beat_schedule={
        name: {"task": name, "schedule": SWEEP_EVERY_SECONDS, "options": {"expires": 10}}
        for name in ("conversations.sweep", "webhooks.sweep", "webhooks.tell")
    },
    timezone="UTC",
)
app.autodiscover_tasks()


@celeryd_init.connect
def show_no_banner(instance: Any, **_: Any) -> None:
    """What a worker is started with stands in its command; its output is a log."""
    instance.quiet = True


@celeryd_init.connect
def wait_longer_than_a_publisher(conf: Any, **_: Any) -> None:
    """A worker blocks a second at a time in BRPOP, so its timeout has to be longer than a publisher's. At RabbitMQ it
    waits without one, and has heartbeats.
    """
    waits = {"read_timeout": None, "connect_timeout": 5} if IS_AMQP else {"socket_timeout": 10}
    conf.broker_transport_options = {**conf.broker_transport_options, **waits}


@setup_logging.connect
def log_as_all_others_do(loglevel: int, **_: Any) -> None:
    """Take the place of Celery's own logging; `-l` says how much Celery itself has to say."""
    logs.configure(settings.LOGGING)
    logging.getLogger("celery").setLevel(max(loglevel, logging.getLogger().level))


@before_task_publish.connect
def name_the_request(headers: dict[str, Any], **_: Any) -> None:
    """Let a task know which request rang for it."""
    if request_id := spoken_of.get().get("request_id"):
        headers["request_id"] = request_id


@task_prerun.connect
def speak_of_the_task(task_id: str, task: Any, **_: Any) -> None:
    """Let every line of a task carry its id, its queue, and the request that rang for it."""
    request_id = getattr(task.request, "request_id", None)
    spoken_of.set({"task_id": task_id, "queue": ROUTES.get(task.name), "request_id": request_id})


@task_postrun.connect
def speak_of_nothing(**_: Any) -> None:
    """The next task of this thread has nothing to do with this one."""
    spoken_of.set({})


class HeartbeatStep(bootsteps.StartStopStep):
    """Says which queues this worker consumes, for as long as it consumes them."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Beat now and every few seconds, on the timer of the consumer itself: a deaf one falls silent."""
        self.beating = parent.timer.call_repeatedly(HEARTBEAT_EVERY_SECONDS, self.beat, (parent,))
        self.beat(parent)

    def stop(self, parent: Any) -> None:
        """Fall silent, and say so: nobody should count on this worker for another quarter of a minute."""
        self.beating.cancel()
        say_gone.send(sender=self, worker=parent.hostname)

    def beat(self, consumer: Any) -> None:
        """Say which queues are consumed."""
        parts = [f"queue {queue.name}" for queue in consumer.task_consumer.queues]
        say_alive.send(sender=self, parts=parts, worker=consumer.hostname)


app.steps["consumer"].add(HeartbeatStep)


@task_success.connect
def beat_for_sweep(sender: Any, result: str, **_: Any) -> None:
    """Say that a sweep ran through; one that found another at work proves nothing."""
    if sender.name.endswith(".sweep") and result != "busy":
        parts = [f"sweep {sender.name.removesuffix('.sweep')}"]
        say_alive.send(sender=sender, parts=parts, worker=str(sender.request.hostname))


@worker_ready.connect
def search_for_garbage_seldom(**_: Any) -> None:
    """All is imported by now."""
    search_seldom()


@worker_ready.connect
def say_that_it_started(sender: Any, **_: Any) -> None:
    """Say that this worker is there, once for each process: one that starts again and again has to show."""
    say_started.send(sender=sender, worker=sender.hostname, queues=list(sender.app.amqp.queues.consume_from))
