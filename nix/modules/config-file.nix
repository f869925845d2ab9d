# task-server.toml: the one file that Nix writes, judged by the program itself
# while the configuration is built.
{
  config,
  lib,
  pkgs,
}:
let
  cfg = config.services.task-server;
  toml = pkgs.formats.toml { };
  rows = import ./instances.nix { inherit lib cfg; };

  computed = {
    inherit (cfg) app code;
    # One folder for all units, so that `task-server health` finds each.
    runtime_dir = "/run/task-server";
    broker_url =
      if cfg.redis.createLocally then
        "redis+socket://${config.services.redis.servers.task-server.unixSocket}?virtual_host=0"
      else
        cfg.settings.broker_url or null;
    workers = lib.listToAttrs (map (row: lib.nameValuePair row.name row.settings) rows);
    flower = { inherit (cfg.flower) address port; };
  };

  # TOML has no null: what is unset is left out.
  document = lib.filterAttrsRecursive (_: value: value != null) (
    lib.recursiveUpdate cfg.settings computed
  );

  written = toml.generate "task-server.toml" document;
in
if cfg.checkConfig then
  pkgs.runCommand "task-server.toml" { } ''
    cp ${written} task-server.toml
    ${cfg.package}/bin/task-server config check --config task-server.toml
    cp task-server.toml $out
  ''
else
  written
