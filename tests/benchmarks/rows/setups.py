"""What workers must be like for the rows: those with the same setup share them."""

from tests.benchmarks.sides import Setup

PREFORK = Setup()
GEVENT = Setup(pool="gevent", concurrency=512)
#: No worker: only a process that sends; or a worker that the row itself starts.
SENDER = Setup(workers=0)
NO_PREFORK = Setup(workers=0)
NO_GEVENT = Setup(pool="gevent", concurrency=512, workers=0)
#: The same, with several queues.
SEVERAL = Setup(queues=tuple(f"bench{number}" for number in range(5)), workers=0)

_POSTGRES = frozenset({"postgres"})

ORM = Setup(project="orm", needs=_POSTGRES)
ORM_GEVENT = Setup(project="orm", pool="gevent", concurrency=512, needs=_POSTGRES)


def courtlistener(processes: int) -> Setup:
    """Return workers of a project made like CourtListener."""
    return Setup(
        project="courtlistener",
        concurrency=processes,
        needs=_POSTGRES,
        packages=("sentry-sdk", "requests"),
    )


_REQUESTS = ("requests",)
HTTP = Setup(
    project="fetching",
    pool="gevent",
    concurrency=512,
    needs=frozenset({"http"}),
    packages=_REQUESTS,
)
HTTP_ALONE = Setup(
    project="alone", pool="gevent", workers=0, needs=frozenset({"http"}), packages=_REQUESTS
)
NAMES = Setup(
    project="fetching",
    pool="gevent",
    concurrency=512,
    needs=frozenset({"names"}),
    packages=_REQUESTS,
)


def idling(pool: str) -> Setup:
    """Return fifty workers."""
    return Setup(pool=pool, concurrency={"prefork": 1, "gevent": 4}[pool], workers=50)


DOCKET = Setup(
    project="docket",
    needs=_POSTGRES,
    packages=("task-server-docket",),
    beside=Setup(project="docket", pool="gevent", concurrency=512, queues=("io_bound",)),
)
