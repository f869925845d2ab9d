# The settings of a worker had no attribute of their own: `workers.gevent.concurrency`.
# Each name that existed then still works, with a warning.
{ lib, ... }:
{
  options.warnings = lib.mkOption {
    type = lib.types.listOf lib.types.str;
    default = [ ];
    internal = true;
    description = "What the machine warns of, for this worker.";
  };

  imports = map (name: lib.mkRenamedOptionModule [ name ] [ "settings" name ]) [
    "asyncio"
    "concurrency"
    "database_connections"
    "delivery"
    "drain_seconds"
    "lease_seconds"
    "max_memory_per_child"
    "memory_limit"
    "poison_limit"
    "pool"
    "prefetch_multiplier"
    "queues"
    "soft_time_limit"
    "time_limit"
    "transport"
  ];
}
