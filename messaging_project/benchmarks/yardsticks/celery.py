"""The Celery application of the yardsticks, with Celery's own settings."""

from typing import Any

from celery import Celery

from messaging_project.benchmarks.yardsticks.settings import YARDSTICK_BROKER_URL

app = Celery("yardsticks", broker=YARDSTICK_BROKER_URL)
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
app.conf.task_routes = {"yardsticks.nothing": {"queue": "nothing"}, "yardsticks.send_sms": {"queue": "naive"}}
app.autodiscover_tasks(["messaging_project.benchmarks.yardsticks"], related_name="naive")


@app.task(name="yardsticks.nothing")
def nothing(number: int) -> None:
    """Do nothing."""


def publish(count: int) -> None:
    """Leave so many of them in their queue."""
    with app.producer_or_acquire() as producer:
        for number in range(count):
            options: dict[str, Any] = {"producer": producer}
            nothing.apply_async((number,), **options)
