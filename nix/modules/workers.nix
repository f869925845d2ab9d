# One unit for each instance of each worker.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.services.task-server;
  instances = import ./instances.nix { inherit lib cfg; };
  files = import ./config-file.nix { inherit config lib pkgs; };
  service = import ./service.nix { inherit config lib; };

  migrations = lib.optional cfg.migrations.enable "task-server-migrate.service";

  unit =
    { name, worker }:
    lib.nameValuePair "task-server-${name}" {
      description = "${service.worker.description} ${name} of ${cfg.app}";
      wantedBy = [ "task-server.target" ];
      partOf = [ "task-server.target" ];
      # Wanted, not required: a worker whose Redis restarts waits for it.
      wants =
        service.network ++ service.servers ++ lib.optionals (!worker.restartIfChanged) migrations;
      # What is required takes the worker along when it is restarted, so one
      # that is to outlive a switch only wants it.
      requires = lib.optionals worker.restartIfChanged migrations;
      # After the target, so that `systemctl stop` of it returns when the last
      # worker has drained, and not while they do.
      after = [ "task-server.target" ] ++ service.network ++ service.servers ++ migrations;
      path = cfg.programs;
      environment =
        service.environment
        // {
          TASK_SERVER_CONFIG = "${files.ofWorker name}";
        }
        // service.plain worker.environment;

      inherit (worker) restartIfChanged;
      # A changed unit is restarted in one go after the switch, so the old
      # worker takes tasks until then, and drains with its own code and files.
      stopIfChanged = false;

      inherit (service) unitConfig;
      # A worker that cannot start is tried again for as long as it takes.
      startLimitIntervalSec = 0;

      serviceConfig =
        service.serviceConfig service.worker
        // {
          Type = "notify";
          NotifyAccess = "main";
          ExecStart = utils.escapeSystemdExecArgs [
            "${cfg.package}/bin/task-server"
            "worker"
            name
          ];

          # Ready is said when the first task could be taken, so the start may
          # have to wait for a broker that is on its way.
          TimeoutStartSec = 300;
          # The worker answers only while its loop turns and takes tasks.
          WatchdogSec = 60;
          Restart = "always";
          RestartSec = 5;

          # SIGTERM goes to the main process alone, which lets the children end
          # their tasks; what is left after the time goes with SIGKILL.
          KillMode = "mixed";
          TimeoutStopSec = worker.stopTimeout;

          RuntimeDirectory = "task-server";
          RuntimeDirectoryMode = "0750";
          # Other workers' heartbeats are in it.
          RuntimeDirectoryPreserve = true;

          # One child of many is killed for its memory: the worker replaces it
          # and requeues its task. A gevent worker is one process.
          OOMPolicy = if worker.settings.pool == "prefork" then "continue" else "stop";
          LimitNOFILE = 65536;
          PrivateNetwork = worker.privateNetwork;
        }
        // lib.optionalAttrs worker.privateNetwork { RestrictAddressFamilies = [ "AF_UNIX" ]; }
        // lib.optionalAttrs (worker.memoryMax != null) { MemoryMax = worker.memoryMax; }
        // lib.optionalAttrs (worker.cpuQuota != null) { CPUQuota = worker.cpuQuota; };
    };
in
{
  config = lib.mkIf cfg.enable {
    systemd.services = lib.listToAttrs (map unit instances);
  };
}
