"""
Everything that a worker replaces in Celery, Kombu, billiard and the packages below them.

`PATCHES` is the whole list, and a test compares a running worker with one of plain
Celery: nothing else differs. The modules of this package replace through
`patching.patch`, which refuses a name that the list lacks. Documented interfaces are
not in it: signal receivers, bootsteps, POSIX signal handlers, `gc.freeze`, psycopg2's
wait callback.
"""

from dataclasses import dataclass
from typing import Final

#: The releases that this code was written against, by package; asyncio is Python's.
SUPPORTED: Final = {
    "asgiref": ">=3.8",
    "asyncio": ">=3.11",
    "billiard": ">=4.2",
    "celery": ">=5.6.2,<5.8",
    "django": ">=4.2",
    "gevent": ">=25.5",
    "kombu": ">=5.6.2,<5.8",
    "redis": ">=6.4,<9",
}

#: Celery 5.7 does it itself; the patch changes nothing there.
BEFORE_5_7: Final = ">=5.6.2,<5.7"

CELERY: Final = "https://github.com/celery/celery/issues/"
KOMBU: Final = "https://github.com/celery/kombu/issues/"


@dataclass(frozen=True, slots=True)
class Patch:
    """
    One thing that is replaced.

    Attributes:
        target: `module:attribute` or `module:Class.attribute`; `[key]` names an entry of
            a dictionary, `*` several. A method may be replaced in one object only.

        by: The module of task_server that replaces it.

        why: What goes wrong without.

        pool: The pool that needs it; None for all.

        needed: The releases of the target's package that need it; None for all of `SUPPORTED`.

        upstream: The issue or pull request about it, if there is one.
    """

    target: str
    by: str
    why: str
    pool: str | None = None
    needed: str | None = None
    upstream: str | None = None

    @property
    def package(self) -> str:
        """The package that is patched."""
        return self.target.partition(":")[0].partition(".")[0]

    @property
    def versions(self) -> str:
        """The releases that need it, as a specifier."""
        return self.needed or SUPPORTED[self.package]


_PATCHES = (
    # Celery's settings and tasks, before the project is imported
    Patch(
        "celery.app.defaults:DEFAULTS[task_*]",
        "project.celery_app",
        "tasks bound while the project is imported would not get our defaults",
    ),
    Patch(
        "celery.app.defaults:_OLD_DEFAULTS[*]",
        "project.celery_app",
        "the same for projects that use the old names of settings",
    ),
    Patch(
        "celery.app.task:Task.*",
        "project.celery_app",
        "the operator's time limits win over what the project says for all tasks",
    ),
    # The broker: the transport
    Patch(
        "kombu.transport:TRANSPORT_ALIASES[*]",
        "transport",
        "a worker killed between taking and registering a message loses it",
        upstream=f"{KOMBU}305",
    ),
    # The broker: connections
    Patch(
        "kombu.transport.redis:Channel.__init__",
        "worker.broker.connections",
        "a channel that only publishes keeps an idle connection",
    ),
    Patch(
        "kombu.transport.redis:Channel._get_pool",
        "worker.broker.connections",
        "acknowledgements are lost when the connection pool is full",
        pool="gevent",
        upstream="https://github.com/redis/redis-py/issues/2517",
    ),
    Patch(
        "celery.backends.redis:RedisBackend._get_pool",
        "worker.broker.connections",
        "results are refused after a failover; under gevent also when the pool is full",
        upstream=f"{CELERY}7946",
    ),
    Patch(
        "redis.connection:AbstractConnection.can_read",
        "worker.broker.connections",
        "a connection that another greenlet closes raises ValueError, not ConnectionError",
        pool="gevent",
    ),
    Patch(
        "kombu.transport.redis:Channel.conn_or_acquire",
        "worker.broker.reconnect",
        "an acknowledgement through a closed channel ends the worker",
        upstream=f"{KOMBU}582",
    ),
    Patch(
        "kombu.transport.redis:QoS.ack",
        "worker.broker.reconnect",
        "an acknowledgement without a connection is lost",
    ),
    Patch(
        "kombu.transport.redis:QoS.restore_unacked",
        "worker.broker.reconnect",
        "messages whose tasks still run are requeued, others are not",
        upstream=f"{CELERY}1307",
    ),
    Patch(
        "celery.worker.consumer.consumer:Consumer.ensure_connected",
        "worker.steps",
        "nothing writes heartbeats or explains the error while Celery reconnects",
    ),
    Patch(
        "kombu.connection:Connection.ensure_connection",
        "worker.steps",
        "nothing writes heartbeats or explains the error while Celery reconnects",
    ),
    Patch(
        "celery.worker.consumer.consumer:Consumer.call_soon",
        "worker.broker.prompt_acks",
        "what has ended is acknowledged in the loop's next turn, or runs again if there is none",
        pool="gevent",
        needed=BEFORE_5_7,
    ),
    Patch(
        "kombu.transport.redis:MultiChannelPoller.poller",
        "worker.pools.gevent_loop",
        "the end of a drain waits for the poll to time out",
        pool="gevent",
    ),
    # Results in Redis
    Patch(
        "celery.app.backends:BACKEND_ALIASES[*]",
        "results",
        "a result takes three round trips: one to look it up, to store it, and to count it",
    ),
    Patch(
        "celery.result:AsyncResult._maybe_reraise_parent_error",
        "results.parents",
        "waiting for a chord reads each part of it separately, at each message",
    ),
    Patch(
        "celery.result:ResultSet.completed_count",
        "results.groups",
        "a group that is counted takes a round trip for each of its results",
    ),
    Patch(
        "celery.result:ResultSet.forget",
        "results.groups",
        "a group that is forgotten takes a round trip for each of its results",
    ),
    # Messages that tasks send; in a web process, too, where the producer is installed
    Patch(
        "celery.app.base:Celery.send_task",
        "producer.plain",
        "each message of a task is made anew from settings, routes and options that are the same",
    ),
    Patch(
        "celery.canvas:group._apply_tasks",
        "producer.canvas",
        "a group takes a round trip for each of its tasks",
    ),
    # Messages that Celery cannot run
    Patch(
        "celery.worker.consumer.consumer:Consumer.on_unknown_message",
        "worker.broker.unreadable",
        "the message is dropped",
    ),
    Patch(
        "celery.worker.consumer.consumer:Consumer.on_invalid_task",
        "worker.broker.unreadable",
        "the message is dropped",
    ),
    Patch(
        "celery.worker.consumer.consumer:Consumer.on_decode_error",
        "worker.broker.unreadable",
        "the message is dropped",
    ),
    Patch(
        "celery.worker.consumer.consumer:Consumer.on_unknown_task",
        "worker.broker.unregistered",
        "a task of another release or project fails instead of waiting for its worker",
        upstream=f"{CELERY}8165",
    ),
    Patch(
        "celery.worker.consumer.consumer:Consumer.on_task_request",
        "worker.broker.unreadable",
        "a request that the pool cannot take ends the worker; a drain requeues what comes in",
    ),
    Patch(
        "celery.worker.worker:WorkController._process_task",
        "worker.broker.unreadable",
        "a request that the pool cannot take ends the worker",
        pool="prefork",
    ),
    # Requests
    Patch(
        "celery.worker.request:Request.on_failure",
        "worker.worker_lost",
        "a task that kills its worker is redelivered without end; so is a cancelled one counted",
        upstream=f"{CELERY}9082",
    ),
    Patch(
        "celery.worker.request:Request.on_timeout",
        "worker.status.ended_outside",
        "nothing adds up the tasks that a hard time limit ends, or keeps them (`failed_tasks`)",
    ),
    Patch(
        "celery.worker.request:Request.cancel",
        "worker.broker.cancelled",
        "the message of a task cancelled on connection loss is acknowledged or stuck in unacked",
        upstream=f"{CELERY}7185",
    ),
    Patch(
        "celery.app.task:Task.__trace__",
        "worker.status.finished",
        "nothing adds up how tasks end; signals would take several times as long",
    ),
    # Pools
    Patch(
        "celery.concurrency.base:BasePool.apply_async",
        "worker.pools",
        "the pool runs suspects side by side, what a drain has requeued, and expired leases",
    ),
    Patch(
        "celery.concurrency.prefork:TaskPool.flush",
        "worker.pools.prefork",
        "tasks that run while the connection is lost never report their results; from Celery 5.7 "
        "on those that have just started",
        pool="prefork",
        upstream=f"{CELERY}10096",
    ),
    Patch(
        "celery.concurrency.prefork:TaskPool.terminate_job",
        "worker.pools.children",
        "revoke(terminate=True) sends SIGTERM, which our children ignore",
        pool="prefork",
    ),
    Patch(
        "kombu.asynchronous.hub:Hub.consolidate_callback",
        "worker.broker.leases",
        "a task whose lease may have expired is written to a child",
        pool="prefork",
    ),
    Patch(
        "billiard.pool:TERM_SIGNAL",
        "worker.pools.children",
        "a SIGTERM for the process group ends running tasks",
        pool="prefork",
        upstream=f"{CELERY}2700",
    ),
    Patch(
        "billiard.popen_fork:TERM_SIGNAL",
        "worker.pools.children",
        "a SIGTERM for the process group ends running tasks",
        pool="prefork",
        upstream=f"{CELERY}2700",
    ),
    Patch(
        "billiard.popen_fork:Popen._launch",
        "worker.pools.children",
        "a child handles a signal to stop between its fork and its own set-up",
        pool="prefork",
    ),
    Patch(
        "billiard.pool:reset_signals",
        "worker.pools.children",
        "in a child: billiard's own handler of SIGTERM ends the task",
        pool="prefork",
        upstream=f"{CELERY}2700",
    ),
    Patch(
        "billiard.pool:Worker.workloop",
        "worker.pools.memory",
        "in a child: knows the child's memory limit, for mem_rss",
        pool="prefork",
    ),
    Patch(
        "billiard.pool:mem_rss",
        "worker.pools.memory",
        "in a child: counts the parent's memory as the child's own",
        pool="prefork",
    ),
    Patch(
        "billiard.pool:MAXMEM_USED_FMT",
        "worker.pools.memory",
        "billiard's log is not shown, so nothing says why a child was replaced",
        pool="prefork",
    ),
    Patch(
        "celery.concurrency.gevent:TaskPool.num_processes",
        "worker.pools.gevent",
        "worker_disable_prefetch never starts a task",
        pool="gevent",
        needed=BEFORE_5_7,
        upstream="https://github.com/celery/celery/pull/10361",
    ),
    Patch(
        "gevent.hub:Hub.SYSTEM_ERROR",
        "worker.pools.gevent",
        "a SystemExit in a greenlet that a task spawned ends the worker",
        pool="gevent",
        upstream=f"{CELERY}457",
    ),
    # asyncio in greenlets (`asyncio = "per-task"`)
    Patch(
        "asyncio.events:_set_running_loop",
        "worker.pools.gevent_asyncio",
        "greenlets of one thread share the running loop",
        pool="gevent",
        upstream="https://github.com/gevent/gevent/issues/2026",
    ),
    Patch(
        "asyncio:_set_running_loop",
        "worker.pools.gevent_asyncio",
        "greenlets of one thread share the running loop",
        pool="gevent",
        upstream="https://github.com/gevent/gevent/issues/2026",
    ),
    Patch(
        "asyncio.base_events:BaseEventLoop._check_running",
        "worker.pools.gevent_asyncio",
        "a loop that several tasks use runs one after the other, as in a process",
        pool="gevent",
    ),
    Patch(
        "asyncio.base_events:BaseEventLoop.run_until_complete",
        "worker.pools.gevent_asyncio",
        "a time limit or a stop leaves the coroutine running",
        pool="gevent",
    ),
    Patch(
        "asgiref.sync:SyncToAsync.single_thread_executor",
        "worker.pools.gevent_asgiref",
        "sync_to_async of all tasks waits for one thread, with its database connections",
        pool="gevent",
        upstream="https://github.com/benoitc/gunicorn/issues/3053",
    ),
    Patch(
        "asgiref.current_thread_executor:CurrentThreadExecutor.run_until_future",
        "worker.pools.gevent_asgiref",
        "a time limit or a stop leaves the coroutine of async_to_sync running",
        pool="gevent",
    ),
    # Databases
    Patch(
        "django.db.backends.postgresql.base:DatabaseWrapper.Database",
        "worker.database.engine",
        "each task connects anew; under gevent the server runs out of connections",
        upstream=f"{CELERY}4878",
    ),
    Patch(
        "celery.fixups.django:DjangoWorkerFixup.close_database",
        "worker.database.prefork",
        "in a child: connections of other engines end with their task, whatever CONN_MAX_AGE says",
        pool="prefork",
        upstream=f"{CELERY}4878",
    ),
    Patch(
        "billiard.pool:Worker._make_child_methods",
        "worker.database.prefork",
        "in a child: a kept connection that nobody uses stays open until the next task",
        pool="prefork",
    ),
    # The stop
    Patch(
        "celery.apps.worker:install_worker_term_handler",
        "worker.shutdown.signals",
        "Celery's warm shutdown waits without a bound",
        upstream=f"{CELERY}6111",
    ),
    Patch(
        "celery.apps.worker:install_worker_term_hard_handler",
        "worker.shutdown.signals",
        "Celery's cold shutdown loses tasks, and hangs under gevent",
        upstream=f"{CELERY}2232",
    ),
    Patch(
        "celery.apps.worker:install_worker_int_handler",
        "worker.shutdown.signals",
        "Celery's cold shutdown loses tasks, and hangs under gevent",
        upstream=f"{CELERY}2232",
    ),
    Patch(
        "celery.apps.worker:install_worker_restart_handler",
        "worker.shutdown.signals",
        "Celery restarts another program than the one that was started",
    ),
    Patch(
        "celery.worker.control:Panel.data[shutdown]",
        "worker.steps",
        "the remote command starts Celery's own shutdown",
    ),
    Patch(
        "kombu.messaging:Consumer.on_message",
        "worker.shutdown.drain",
        "a message that arrives during a drain would start a task",
    ),
)

#: All patches by target.
PATCHES: Final = {each.target: each for each in _PATCHES}
