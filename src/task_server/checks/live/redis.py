"""The running Redis: version, role, eviction policy, memory, persistence and clients."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis import exceptions

from task_server.checks.connections import redis_connections
from task_server.checks.facts import Context
from task_server.errors import Finding
from task_server.peers.deadline import run_with_timeout
from task_server.peers.redis import address, explain_redis_error

#: The first Redis with what the transport needs (ZRANGE by score).
MIN_VERSION = (6, 2)

#: Share of maxmemory or maxclients from which to warn.
WARN_AT = 0.9


@dataclass(frozen=True, slots=True)
class Answer:
    """What a Redis reports about itself: INFO, and CONFIG as far as it is permitted."""

    where: str
    info: Mapping[str, Any]
    config: Mapping[str, str]


def broker(context: Context, app: Any, timeout: float) -> Iterator[Finding]:
    """Ask the broker of *app*, connecting as its worker would."""
    given = app.conf.broker_write_url or app.conf.broker_url or ""
    url = ";".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    if "redis" not in url.partition("://")[0] and not url.startswith("sentinel"):
        return  # the offline rule reports that
    where = address(url)
    try:
        answer = run_with_timeout(3 * timeout, lambda: _ask_broker(app, where, timeout))
    except Exception as error:  # noqa: BLE001 - any error becomes a finding
        yield explain_redis_error("broker", url, error)
        return
    yield version("broker", answer)
    for rule in (role, policy, memory, persistence):
        yield from rule(answer)
    yield from clients(context, answer)
    yield from _backend(app, answer, timeout)


def _ask_broker(app: Any, where: str, timeout: float) -> Answer:
    options = {"socket_connect_timeout": timeout, "socket_timeout": timeout}
    with app.connection_for_write(transport_options=options) as connection:
        # Not `connection.connect()`, which retries for seconds.
        transport = connection.transport
        channel = transport.create_channel(transport)
        try:
            return ask(channel.client, where)
        finally:
            channel.close()


def ask(client: Any, where: str) -> Answer:
    """Ask the Redis of *client* for INFO and CONFIG."""
    info = client.info()
    config: dict[str, str] = {}
    for name in ("save", "stop-writes-on-bgsave-error", "maxclients"):
        try:
            config.update(client.config_get(name))
        except exceptions.ResponseError:
            break  # managed Redis often forbids CONFIG
    return Answer(where, info, config)


def _backend(app: Any, broker_answer: Answer, timeout: float) -> Iterator[Finding]:
    """Ask the result backend, if it is another Redis."""
    url = str(app.conf.result_backend or "")
    if not url.startswith(("redis", "sentinel")):
        return
    where = address(url)
    options = {"redis_socket_connect_timeout": timeout, "redis_socket_timeout": timeout}
    for name, value in options.items():
        app.conf[name] = value
    try:
        answer = run_with_timeout(3 * timeout, lambda: ask(app.backend.client, where))
    except Exception as error:  # noqa: BLE001 - any error becomes a finding
        yield explain_redis_error("result backend", url, error)
        return
    if answer.info.get("run_id") == broker_answer.info.get("run_id"):
        return
    yield version("result backend", answer)
    if answer.info.get("maxmemory_policy") != "noeviction":
        yield Finding(
            "warning",
            "result backend",
            f"maxmemory-policy is {answer.info.get('maxmemory_policy')}: results may be evicted "
            "before they are read",
            "use noeviction if callers rely on results",
        )


def version(setting: str, answer: Answer) -> Finding:
    """Report the version, and whether it is new enough."""
    info = answer.info
    valkey = info.get("valkey_version")
    if valkey:
        return Finding("ok", setting, f"Valkey {valkey} answers at {answer.where}")
    text = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if numbers < MIN_VERSION:
        return Finding(
            "error",
            setting,
            f"Redis {text} at {answer.where} is too old",
            "upgrade it to Redis 6.2 or later, or Valkey",
        )
    return Finding("ok", setting, f"Redis {text} answers at {answer.where}")


def role(answer: Answer) -> Iterator[Finding]:
    """Reject a replica, which is read-only, and a cluster, which Kombu cannot use."""
    if answer.info.get("role") == "slave":
        yield Finding(
            "error",
            "broker role",
            f"{answer.where} is a read-only replica",
            "use the address of its primary, or sentinel://",
        )
    if answer.info.get("cluster_enabled") == 1:
        yield Finding(
            "error",
            "broker role",
            f"{answer.where} is a node of a cluster, across whose nodes Kombu cannot use keys",
            "use a Redis with cluster-enabled no",
        )


def policy(answer: Answer) -> Iterator[Finding]:
    """Reject a broker that evicts keys when its memory is full."""
    chosen = answer.info.get("maxmemory_policy")
    if chosen == "noeviction":
        yield Finding("ok", "broker maxmemory-policy", "noeviction")
    else:
        yield Finding(
            "error",
            "broker maxmemory-policy",
            f"{chosen}: when memory is full, Redis evicts queues with their tasks",
            "run `redis-cli config set maxmemory-policy noeviction`, set it in redis.conf, and "
            "keep caches in another Redis",
        )


def memory(answer: Answer) -> Iterator[Finding]:
    """Compare used_memory with maxmemory."""
    most = int(answer.info.get("maxmemory", 0))
    used = int(answer.info.get("used_memory", 0))
    message = f"{used / 2**20:.0f} MiB used"
    if not most:
        yield Finding(
            "info",
            "broker maxmemory",
            f"{message}, no limit: when the machine runs out of memory, the kernel kills Redis; "
            "set maxmemory lower, and Redis rejects new tasks instead",
        )
        return
    message = f"{message} of {most / 2**20:.0f} MiB"
    if used >= most:
        yield Finding(
            "error",
            "broker maxmemory",
            f"{message}: Redis rejects new tasks",
            "raise maxmemory, or let the workers empty the queues",
        )
    elif used >= WARN_AT * most:
        yield Finding(
            "warning",
            "broker maxmemory",
            f"{message}: Redis will soon reject new tasks",
            "raise maxmemory, or find what fills it (queues, results that do not expire)",
        )
    else:
        yield Finding("ok", "broker maxmemory", message)


def persistence(answer: Answer) -> Iterator[Finding]:
    """Report what a restart of Redis loses."""
    info = answer.info
    if info.get("aof_enabled") == 1:
        if info.get("aof_last_write_status", "ok") != "ok":
            yield Finding(
                "error",
                "broker persistence",
                "the append-only file cannot be written, so Redis rejects new tasks",
                "free space on its disk",
            )
        else:
            yield Finding("ok", "broker persistence", "append-only file")
        return
    save = answer.config.get("save")
    if (
        info.get("rdb_last_bgsave_status", "ok") != "ok"
        and answer.config.get("stop-writes-on-bgsave-error", "yes") == "yes"
        and save != ""
    ):
        yield Finding(
            "error",
            "broker persistence",
            "the last snapshot failed, so Redis rejects new tasks",
            "see the log of Redis (a full disk? vm.overcommit_memory=0?)",
        )
        return
    lost = "all tasks" if save == "" else "the tasks since its last snapshot"
    yield Finding(
        "warning",
        "broker persistence",
        f"no append-only file: when Redis stops, {lost} are lost",
        "run `redis-cli config set appendonly yes`, and set it in redis.conf",
    )


def clients(context: Context, answer: Answer) -> Iterator[Finding]:
    """Compare maxclients with the connections of all workers."""
    most = int(answer.info.get("maxclients") or answer.config.get("maxclients") or 0)
    if not most:
        return
    needed = 0
    terms = []
    for name, worker in context.workers.items():
        one, count = redis_connections(worker, context.facts), context.counts[name]
        needed += one * count
        terms.append(f"{count} x {name} with {one}")
    message = f"workers open up to {needed} connections ({', '.join(terms)}) of maxclients {most}"
    repair = f"set maxclients (and the open files of Redis) to {needed * 2} or more"
    if needed > most:
        yield Finding("error", "broker maxclients", message, repair)
    elif needed > WARN_AT * most:
        yield Finding("warning", "broker maxclients", message, repair)
    else:
        connected = answer.info.get("connected_clients", "?")
        yield Finding("ok", "broker maxclients", f"{message}; {connected} are connected now")
