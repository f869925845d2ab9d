# What a project's uv.lock lacks of ours, laid over its packages: task-server,
# where it does not have it, and Flower. Only what the project lacks is added,
# from our own lock; each package that it has stays as it is, version and all.
# The worker reports at its start whether those are new enough.
{
  lib,
  # The overlay of our own uv.lock.
  ours,
}:
final: prev:
let
  available = ours final prev;

  # Beside what every worker needs, the extra `gevent`: the image for all queues
  # and the one for io_bound come from one environment. The database driver is
  # the project's own, and Flower has an environment of its own.
  needed =
    available.task-server.passthru.dependencies
    // available.task-server.passthru.optional-dependencies.gevent;

  # A lock records only the extras that somebody asked for: where the project
  # has `celery` and not `celery[redis]`, the packages of that extra are
  # depended on directly.
  meet =
    dependencies:
    lib.zipAttrsWith (_: extras: lib.unique (lib.concatLists extras)) (
      lib.concatLists (
        lib.mapAttrsToList (
          name: extras:
          let
            known = final.${name}.passthru.optional-dependencies or { };
            ofOurs = available.${name}.passthru.optional-dependencies or { };
            lacking = lib.filter (extra: !(known ? ${extra})) extras;
          in
          [ { ${name} = lib.subtractLists lacking extras; } ]
          ++ map (extra: meet (ofOurs.${extra} or { })) lacking
        ) dependencies
      )
    );
in
lib.filterAttrs (name: _: !(prev ? ${name})) available
// lib.optionalAttrs (!(prev ? task-server)) {
  task-server = available.task-server.overrideAttrs (old: {
    passthru = old.passthru // {
      dependencies = meet needed;
    };
  });
}
