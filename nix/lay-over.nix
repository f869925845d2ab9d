# task-server, laid over the packages of a project whose uv.lock does not have
# it. Only what the project lacks is added, from our own lock; each package
# that it has stays as it is, version and all. Whether those are new enough is
# told by the worker when it starts.
{
  lib,
  # The overlay of our own uv.lock.
  ours,
}:
final: prev:
let
  available = ours final prev;

  # What a worker of another project has no use for: Flower has an environment
  # of its own, the database driver is the project's, and the rest serves the
  # reference project alone.
  unused = [
    "flower"
    "psycopg2-binary"
    "dj-database-url"
    "pypdfium2"
    "requests"
  ];

  needed = removeAttrs available.task-server.passthru.dependencies unused;

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
// {
  task-server = available.task-server.overrideAttrs (old: {
    passthru = old.passthru // {
      dependencies = meet needed;
    };
  });
}
