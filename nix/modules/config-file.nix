# What Nix writes: task-server.toml with everything, judged by the program itself
# while the configuration is built, and for each unit a file of its own, so that
# a change of one worker restarts that one.
{
  config,
  lib,
  pkgs,
}:
let
  cfg = config.services.task-server;
  toml = pkgs.formats.toml { };
  instances = import ./instances.nix { inherit lib cfg; };

  every = {
    inherit (cfg) app code;
    # One folder for all units, so that `task-server health` finds each.
    runtime_dir = "/run/task-server";
    broker_url =
      if cfg.redis.createLocally then
        "redis+socket://${config.services.redis.servers.task-server.unixSocket}?virtual_host=0"
      else
        cfg.settings.broker_url or null;
  };
  # What the options say of each service beside the workers.
  services = lib.mapAttrs (
    name: row: lib.optionalAttrs (row ? port) { inherit (cfg.${name}) address port; }
  ) rows;
  rows = (import ../services.nix).others;
  settingsWithout = names: removeAttrs cfg.settings names;
  workers = lib.listToAttrs (map (one: lib.nameValuePair one.name one.worker.settings) instances);

  # The visibility timeout is one number for all workers, above the longest time
  # limit: that is all that a worker must know of the others.
  timeLimits = lib.mapAttrs (_: lib.filterAttrs (setting: _: setting == "time_limit")) (
    lib.filterAttrs (_: settings: (settings.time_limit or null) != null) workers
  );

  # All that a service must know of the workers.
  queues = lib.mapAttrs (_: lib.filterAttrs (setting: _: setting == "queues")) workers;

  write =
    name: settings: added:
    toml.generate name (
      # TOML has no null: what is unset is left out.
      lib.filterAttrsRecursive (_: value: value != null) (
        lib.recursiveUpdate settings (every // added)
      )
    );

  whole = write "task-server.toml" cfg.settings (services // { inherit workers; });
in
{
  whole =
    if cfg.checkConfig then
      pkgs.runCommand "task-server.toml" { } ''
        cp ${whole} task-server.toml
        ${cfg.package}/bin/task-server config check --config task-server.toml
        cp task-server.toml $out
      ''
    else
      whole;

  ofWorker =
    name:
    write "task-server-${name}.toml" (settingsWithout (lib.attrNames services)) {
      workers = timeLimits // {
        ${name} = workers.${name};
      };
    };

  ofService =
    name:
    write "task-server-${name}.toml"
      (settingsWithout (lib.attrNames (removeAttrs services [ name ])))
      (
        { ${name} = services.${name}; }
        // lib.optionalAttrs (rows.${name}.knows_queues or false) { workers = queues; }
      );
}
