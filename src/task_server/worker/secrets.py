"""Keeps the URLs of broker and result backend from the programs that tasks start."""

import os
from collections.abc import Mapping
from typing import Any

import billiard
from celery import signals

from task_server.launch import handover
from task_server.project import celery_app


def keep_apart(app: Any, said: Mapping[str, str]) -> None:
    """
    Take them out of this process's environment when the project is imported.

    What the user put there himself stays: REDIS_URL, or CELERY_BROKER_URL where the
    operator gave no other by a setting of ours.

    Args:
        said: Who gave each setting that the operator gave.
    """

    def take_out(**_: Any) -> None:
        if _children_import(app):
            return
        for name in handover.OURS:
            os.environ.pop(name, None)
        for name, setting in handover.CELERYS.items():
            if setting in said and name in os.environ:
                celery_app.set_url(app, setting, os.environ[name])
                del os.environ[name]

    signals.worker_init.connect(take_out, weak=False)


def _children_import(app: Any) -> bool:
    """Whether the pool's children are no forks: they import the project, and need the variables."""
    method = app.conf.get("worker_pool_start_method") or billiard.get_start_method()
    return bool(method != "fork")
