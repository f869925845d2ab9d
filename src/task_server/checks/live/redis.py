"""Redis as it runs: version, what it does when memory is full or it ends, and its limits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis import exceptions

from task_server.checks.connections import redis_connections
from task_server.checks.facts import Case
from task_server.errors import Finding
from task_server.peers.deadline import run_with_timeout
from task_server.peers.redis import address, explain_redis_error

#: The first Redis with what the transport needs (ZRANGE by score).
OLDEST = (6, 2)

#: Share of maxmemory, or of maxclients, from which on it is time to act.
NEARLY = 0.9


@dataclass(frozen=True, slots=True)
class Answer:
    """What a Redis says of itself: INFO, and what it lets us see of CONFIG."""

    where: str
    info: Mapping[str, Any]
    config: Mapping[str, str]


def broker(case: Case, app: Any, timeout: float) -> Iterator[Finding]:
    """Ask the broker of *app*, as its worker would reach it."""
    given = app.conf.broker_write_url or app.conf.broker_url or ""
    url = ";".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    if "redis" not in url.partition("://")[0] and not url.startswith("sentinel"):
        return  # the offline rule has said so
    where = address(url)
    try:
        answer = run_with_timeout(3 * timeout, lambda: _ask_broker(app, where, timeout))
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a line
        yield explain_redis_error("broker", url, error)
        return
    yield version("broker", answer)
    for rule in (role, policy, memory, persistence):
        yield from rule(answer)
    yield from clients(case, answer)
    yield from _backend(app, answer, timeout)


def _ask_broker(app: Any, where: str, timeout: float) -> Answer:
    options = {"socket_connect_timeout": timeout, "socket_timeout": timeout}
    with app.connection_for_write(transport_options=options) as connection:
        # Not `connection.connect()`, which tries again for seconds.
        transport = connection.transport
        channel = transport.create_channel(transport)
        try:
            return ask(channel.client, where)
        finally:
            channel.close()


def ask(client: Any, where: str) -> Answer:
    """Ask the Redis of *client* about itself."""
    info = client.info()
    config: dict[str, str] = {}
    for name in ("save", "stop-writes-on-bgsave-error", "maxclients"):
        try:
            config.update(client.config_get(name))
        except exceptions.ResponseError:
            break  # CONFIG is often forbidden where somebody else runs Redis
    return Answer(where, info, config)


def _backend(app: Any, broker_answer: Answer, timeout: float) -> Iterator[Finding]:
    """Ask the result backend where it is another Redis."""
    url = str(app.conf.result_backend or "")
    if not url.startswith(("redis", "sentinel")):
        return
    where = address(url)
    options = {"redis_socket_connect_timeout": timeout, "redis_socket_timeout": timeout}
    for name, value in options.items():
        app.conf[name] = value
    try:
        answer = run_with_timeout(3 * timeout, lambda: ask(app.backend.client, where))
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a line
        yield explain_redis_error("result backend", url, error)
        return
    if answer.info.get("run_id") == broker_answer.info.get("run_id"):
        return
    yield version("result backend", answer)
    if answer.info.get("maxmemory_policy") != "noeviction":
        yield Finding(
            "warning",
            "result backend",
            f"maxmemory-policy is {answer.info.get('maxmemory_policy')}: results may vanish "
            "before they are read",
            "use noeviction if callers rely on results",
        )


def version(setting: str, answer: Answer) -> Finding:
    """Tell what answers, and whether it is new enough."""
    info = answer.info
    valkey = info.get("valkey_version")
    if valkey:
        return Finding("ok", setting, f"Valkey {valkey} answers at {answer.where}")
    text = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        return Finding(
            "error",
            setting,
            f"Redis {text} at {answer.where} is too old",
            "upgrade it to Redis 6.2 or later, or Valkey",
        )
    return Finding("ok", setting, f"Redis {text} answers at {answer.where}")


def role(answer: Answer) -> Iterator[Finding]:
    """Refuse a replica, which takes no tasks, and a cluster, which kombu cannot use."""
    if answer.info.get("role") == "slave":
        yield Finding(
            "error",
            "broker role",
            f"{answer.where} is a replica and refuses writes",
            "use the address of its primary, or sentinel://",
        )
    if answer.info.get("cluster_enabled") == 1:
        yield Finding(
            "error",
            "broker role",
            f"{answer.where} is a node of a cluster, whose keys kombu cannot use together",
            "use a Redis with cluster-enabled no",
        )


def policy(answer: Answer) -> Iterator[Finding]:
    """Refuse a broker that drops keys when its memory is full."""
    chosen = answer.info.get("maxmemory_policy")
    if chosen == "noeviction":
        yield Finding("ok", "broker maxmemory-policy", "noeviction")
    else:
        yield Finding(
            "error",
            "broker maxmemory-policy",
            f"{chosen}: when memory is full, Redis drops queues with their tasks",
            "run `redis-cli config set maxmemory-policy noeviction`, set it in redis.conf, and "
            "keep caches in another Redis",
        )


def memory(answer: Answer) -> Iterator[Finding]:
    """Compare what Redis uses with what it may use."""
    most = int(answer.info.get("maxmemory", 0))
    used = int(answer.info.get("used_memory", 0))
    told = f"{used / 2**20:.0f} MiB used"
    if not most:
        yield Finding(
            "info",
            "broker maxmemory",
            f"{told}, no limit: when the machine has no memory left, the kernel ends Redis; set "
            "maxmemory below that, and Redis refuses new tasks instead",
        )
        return
    told = f"{told} of {most / 2**20:.0f} MiB"
    if used >= most:
        yield Finding(
            "error",
            "broker maxmemory",
            f"{told}: Redis refuses new tasks",
            "raise maxmemory, or let the workers empty the queues",
        )
    elif used >= NEARLY * most:
        yield Finding(
            "warning",
            "broker maxmemory",
            f"{told}: soon Redis refuses new tasks",
            "raise maxmemory, or find what fills it (queues, results that do not expire)",
        )
    else:
        yield Finding("ok", "broker maxmemory", told)


def persistence(answer: Answer) -> Iterator[Finding]:
    """Tell what a restart of Redis loses."""
    info = answer.info
    if info.get("aof_enabled") == 1:
        if info.get("aof_last_write_status", "ok") != "ok":
            yield Finding(
                "error",
                "broker persistence",
                "the append-only file cannot be written, so Redis refuses new tasks",
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
            "the last snapshot failed, so Redis refuses new tasks",
            "see the log of Redis (a full disk, or vm.overcommit_memory=0)",
        )
        return
    lost = "all tasks" if save == "" else "the tasks since its last snapshot"
    yield Finding(
        "warning",
        "broker persistence",
        f"no append-only file: when Redis ends, {lost} are lost",
        "run `redis-cli config set appendonly yes`, and set it in redis.conf",
    )


def clients(case: Case, answer: Answer) -> Iterator[Finding]:
    """Compare maxclients with the connections of all workers."""
    most = int(answer.info.get("maxclients") or answer.config.get("maxclients") or 0)
    if not most:
        return
    needed = 0
    terms = []
    for name, profile in case.profiles.items():
        one, count = redis_connections(profile, case.facts), case.counts[name]
        needed += one * count
        terms.append(f"{count} x {name} with {one}")
    told = f"workers open up to {needed} connections ({', '.join(terms)}) of maxclients {most}"
    repair = f"set maxclients (and the open files of Redis) to {needed * 2} or more"
    if needed > most:
        yield Finding("error", "broker maxclients", told, repair)
    elif needed > NEARLY * most:
        yield Finding("warning", "broker maxclients", told, repair)
    else:
        connected = answer.info.get("connected_clients", "?")
        yield Finding("ok", "broker maxclients", f"{told}; {connected} are connected now")
