# Options and units as they evaluate: `{ expr; expected; }`, for lib.runTests.
{
  lib,
  # The NixOS of a module: module -> { config, … }.
  machine,
  # A project whose lock does not know task-server.
  foreign,
  # The same, with arguments that differ.
  mkForeign,
  # This repository as a project.
  project,
}:
let
  evaluated =
    settings:
    (machine {
      services.task-server = {
        enable = true;
        app = "docket";
      }
      // settings;
      users = {
        users.www-data = {
          isSystemUser = true;
          group = "www-data";
        };
        groups.www-data = { };
      };
    }).config;
  services = settings: (evaluated settings).systemd.services;
  worker = unit: (services { workers.one = unit; }).task-server-one;
  refusals =
    settings:
    map (one: one.message) (
      lib.filter (
        one: !one.assertion && lib.hasPrefix "services.task-server" one.message
      ) (evaluated settings).assertions
    );
  # Whether evaluating it ends in an error.
  fails = value: !(builtins.tryEval (builtins.deepSeq value value)).success;

  local = services {
    database.createLocally = true;
    flower.enable = true;
    credentials.flower_basic_auth = "/run/secrets/flower";
    settingsFiles."11-private.py" = "/run/secrets/11-private.py";
  };
  prefork = local.task-server-prefork;

  remote = {
    user = "www-data";
    group = "www-data";
    credentials.broker_url = "/run/secrets/broker";
  };

  known = {
    inherit
      lib
      machine
      foreign
      mkForeign
      project
      evaluated
      services
      worker
      refusals
      fails
      local
      prefork
      remote
      ;
  };
in
lib.mergeAttrsList (
  map (file: import file known) [
    ./cases/units.nix
    ./cases/servers.nix
    ./cases/refusals.nix
    ./cases/project.nix
  ]
)
