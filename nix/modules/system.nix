# What the units share on the machine: target, slice, user, and the command.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.task-server;

  # The same program as in the units, with their configuration: for
  # `task-server health NAME` and `task-server config show`.
  command = pkgs.writeShellScriptBin "task-server" ''
    export TASK_SERVER_CONFIG="''${TASK_SERVER_CONFIG-${cfg.configFile}}"
    exec ${cfg.package}/bin/task-server "$@"
  '';
in
{
  config = lib.mkIf cfg.enable {
    services.task-server.configFile = (import ./config-file.nix { inherit config lib pkgs; }).whole;

    systemd = {
      targets.task-server = {
        description = "Celery workers of ${cfg.app}";
        wantedBy = [ "multi-user.target" ];
      };

      slices.system-taskserver = {
        description = "Celery workers of ${cfg.app}";
        sliceConfig =
          lib.optionalAttrs (cfg.memoryMax != null) { MemoryMax = cfg.memoryMax; }
          // lib.optionalAttrs (cfg.cpuQuota != null) { CPUQuota = cfg.cpuQuota; };
      };
    };

    environment.systemPackages = [ command ];

    users = {
      users = lib.optionalAttrs (cfg.user == "task-server") {
        task-server = {
          isSystemUser = true;
          inherit (cfg) group;
          description = "Celery workers";
          home = "/var/lib/task-server";
        };
      };
      groups = lib.optionalAttrs (cfg.group == "task-server") { task-server = { }; };
    };
  };
}
