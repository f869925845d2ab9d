"""A project with tasks that collect messages, run many as one, or are deferred on purpose."""

import os
import time

from celery import Celery, Task
from celery.worker.request import Request, create_request_cls
from kombu.utils.imports import symbol_by_name
from proj import ended, started

app = Celery("batching")
app.conf.task_ignore_result = True
app.conf.worker_disable_prefetch = bool(os.environ.get("NO_PREFETCH"))


def run_batch(task: Task, ids: list[str], numbers: list[int]) -> None:
    """What the pool runs."""
    task.run(numbers)


#: Messages of a batch, and seconds after which fewer are one.
EVERY = int(os.environ.get("BATCH_EVERY", "4"))
INTERVAL = float(os.environ.get("BATCH_INTERVAL", "1"))


class Batches(Task):
    """Collects as celery-batches does, which knows no Celery 5.7: its own strategy, one job."""

    abstract = True
    flush_every = EVERY
    flush_interval = INTERVAL

    def __init__(self) -> None:
        self.buffer: list[Request] = []
        self.timer = None

    def Strategy(self, task, app, consumer):  # noqa: N802 - Celery's
        """Keep each message; after some, or some seconds, run them."""
        request = create_request_cls(
            symbol_by_name(task.Request), task, consumer.pool, consumer.hostname, None, app=app
        )
        self.pool = consumer.pool

        def handle(message, body, ack, reject, callbacks, **_):
            one = request(
                message,
                on_ack=ack,
                on_reject=reject,
                app=app,
                task=task,
                body=message.body,
                headers=message.headers,
                connection_errors=consumer.connection_errors,
            )
            from celery import signals  # noqa: PLC0415

            self.buffer.append(one)
            signals.task_received.send(sender=consumer, request=one)
            if self.timer is None:
                self.timer = consumer.timer.call_repeatedly(self.flush_interval, self.flush)
            if len(self.buffer) >= self.flush_every:
                self.flush()

        return handle

    def flush(self) -> None:
        """Give what was collected to the pool."""
        requests, self.buffer = self.buffer, []
        if not requests:
            return

        def done(_):
            for one in requests:
                one.acknowledge()

        self.pool.apply_async(
            run_batch,
            (self, [one.id for one in requests], [one.args[0] for one in requests]),
            accept_callback=lambda *_: None,
            callback=done,
        )


try:
    from celery_batches import Batches as Published
except ImportError:
    Published = Batches


class Numbers:
    """What both kinds do with a batch."""

    def batch(self, numbers: list[int]) -> None:
        """Note each, wait, note each."""
        for number in numbers:
            started(number)
        time.sleep(float(os.environ.get("BATCH_SECONDS", "0")))
        if os.environ.get("BATCH_RAISES"):
            raise SystemExit(1)
        for number in numbers:
            ended(number)


@app.task(base=Batches)
def own(numbers: list[int]) -> None:
    """A batch of the class above."""
    Numbers().batch(numbers)


@app.task(base=Published, flush_every=EVERY, flush_interval=INTERVAL)
def published(requests: list) -> None:
    """A batch of celery-batches."""
    Numbers().batch([one if isinstance(one, int) else one.args[0] for one in requests])


@app.task(base=Published, flush_every=100, flush_interval=3600)
def patient(requests: list) -> None:
    """A batch that is hardly ever full."""


@app.task
def plain(number: int, seconds: float) -> None:
    """Take *seconds*."""
    started(number)
    time.sleep(seconds)
    ended(number)


@app.task(rate_limit="6/h")
def rare(number: int) -> None:
    """Run ten minutes after the one before."""
    started(number)
    ended(number)
