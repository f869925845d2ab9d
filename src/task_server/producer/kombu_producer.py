"""Connection, producer and their pool: what Kombu does for each message is done once."""

from collections.abc import Callable
from typing import Any, Final

from kombu import connection as _connection
from kombu import messaging as _messaging
from kombu import pools as _pools
from kombu.resource import Resource

from task_server.producer.channel import Publishing, publishing

#: Their type stubs know only the public names.
connections: Final[Any] = _connection
messaging: Final[Any] = _messaging
pools: Final[Any] = _pools


class Connection(connections.PooledConnection):  # type: ignore[misc]
    """A connection that only publishes, of a pool of such."""

    def get_transport_cls(self) -> type:
        """Return the class of the transport, with our channels if it is Redis."""
        return publishing(super().get_transport_cls())

    def ensure(self, obj: Any, fun: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """
        Return *fun*, which is retried as Kombu does it from its first failure on.

        Until then there is nothing around it.
        """

        def ensured(*words: Any, **named: Any) -> Any:
            try:
                return fun(*words, **named)
            except Exception as error:  # noqa: BLE001 - Kombu sorts them, and raises the rest
                again = self.ensure_after(error, obj, fun, *args, **options)
                return again(*words, **named)

        return ensured

    def ensure_after(
        self, error: Exception, obj: Any, fun: Callable[..., Any], *args: Any, **options: Any
    ) -> Any:
        """Return *fun*, which has failed with *error*, and is retried as Kombu does it."""
        return super().ensure(obj, _Failed(fun, error), *args, **options)


class _Failed:
    """A function whose first call has failed already: Kombu's loop counts that one too."""

    def __init__(self, fun: Callable[..., Any], error: Exception) -> None:
        self._fun = fun
        self._error: Exception | None = error
        self.__name__ = getattr(fun, "__name__", "publish")
        self.__doc__ = fun.__doc__
        self.__module__ = fun.__module__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._fun(*args, **kwargs)


class Observed:
    """
    What a producer has sent.

    Attributes:
        options: The options of each publish.

        pushed: List and text of each message.
    """

    def __init__(self) -> None:
        self.options: list[dict[str, Any]] = []
        self.pushed: list[tuple[str, str]] = []


class Producer(messaging.Producer):  # type: ignore[misc]
    """A producer that declares a queue once a connection, and keeps that connection."""

    #: Whether its last use ended with an exception.
    failed = False

    #: What messages wait in instead of being sent (`producer.batch`), if they do.
    batch_of_ours: Any = None

    #: What looks at each message that is sent (`producer.plain`), if anything does.
    observed: Observed | None = None

    @property
    def collects(self) -> bool:
        """
        Whether messages may be collected: channels have to know how, and none are yet.

        The channel itself is not looked at: that would connect, for as long as it takes, since
        Kombu learns how often to try from the first message.
        """
        kind: Any = self.connection.get_transport_cls()
        return self.batch_of_ours is None and issubclass(kind.Channel, Publishing)

    def publish(self, body: Any, *args: Any, **kwargs: Any) -> Any:
        """Publish as Kombu, and whatever has been put around it, does."""
        if self.observed is not None:
            self.observed.options.append(kwargs)
        published = super().publish(body, *args, **kwargs)
        if self.batch_of_ours is not None:
            self.batch_of_ours.published(kwargs.get("retry"), kwargs.get("retry_policy"))
        return published

    def _publish(self, *args: Any, **kwargs: Any) -> Any:
        """Send, without a look at what is declared already; Kombu binds each queue for that."""
        # The channel is another one after a lost connection.
        if self.batch_of_ours is not None:
            self.channel.collector = self.batch_of_ours
        if self.observed is not None:
            self.channel.observed = self.observed
        elif getattr(self.channel, "observed", None) is not None:
            self.channel.observed = None
        args = (*args[:_DECLARE], self._undeclared(args[_DECLARE]), *args[_DECLARE + 1 :])
        return super()._publish(*args, **kwargs)

    def _undeclared(self, entities: Any) -> list[Any]:
        # The transport of a channel that was closed has no client.
        transport = getattr(self.channel, "connection", None)
        known = getattr(getattr(transport, "client", None), "declared_entities", ())
        if not entities or not known:
            return entities or []
        return [
            entity
            for entity in entities
            if not (entity.can_cache_declaration and hash(entity) in known)
        ]

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.failed = kind is not None
        super().__exit__(kind, *rest)


#: Where `declare` stands among the arguments of Producer._publish.
_DECLARE = 10


class Connections(connections.ConnectionPool):  # type: ignore[misc]
    """The connections of the producers."""

    def new(self) -> Connection:
        """Return one that is not yet connected."""
        return Connection(self, **dict(self.connection._info(resolve=False)))  # noqa: SLF001 - as Kombu's


class Pool(pools.ProducerPool):  # type: ignore[misc]
    """
    Producers that keep their connections.

    Kombu's give them back after each message to a pool that they share with remote
    control. Here they have a pool of their own, as large as that one, so that nobody else waits.
    """

    def release(self, producer: Any) -> None:
        """Keep *producer* with its connection, unless something has failed."""
        failed, producer.failed = getattr(producer, "failed", True), False
        if failed or not self.limit:
            super().release(producer)
        else:
            resource: Any = Resource
            resource.release(self, producer)


def pool_of(connection: Any, limit: int) -> Pool:
    """Return *limit* producers for the broker of *connection*."""
    return Pool(Connections(connection, limit=limit), limit=limit, Producer=Producer)
