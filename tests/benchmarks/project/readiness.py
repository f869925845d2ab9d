"""Tells the benchmark when a worker of Celery consumes."""

import os
from pathlib import Path

from celery.signals import worker_ready


@worker_ready.connect
def tell(**_: object) -> None:
    """Leave a file that is named by this process."""
    (Path(os.environ["BENCH_READY"]) / str(os.getpid())).touch()
