# Django's migrations, before the workers.
{
  config,
  lib,
  utils,
  ...
}:
let
  cfg = config.services.task-server;
  service = import ./service.nix { inherit config lib; };
in
{
  config = lib.mkIf (cfg.enable && cfg.migrations.enable) {
    systemd.services.task-server-migrate = {
      description = "Migrations of the database of ${cfg.app}";
      wants = service.network ++ service.servers;
      after = service.network ++ service.servers;
      inherit (service) unitConfig;
      # Restarted in one go after the switch, as the workers are, which it takes
      # along: they drain before it runs and start when it has.
      stopIfChanged = false;
      # Nothing of it stands in task-server.toml, so that a change of a worker
      # does not run it again.
      environment =
        service.environment
        // {
          # Which project it is stands in the file, which Django's commands do
          # not read.
          TASK_SERVER_APP = cfg.app;
        }
        // lib.optionalAttrs (cfg.code != null) { PYTHONPATH = cfg.code; }
        // lib.optionalAttrs (cfg.settings ? settings_module) {
          DJANGO_SETTINGS_MODULE = cfg.settings.settings_module;
        };

      # The database may come up after us.
      startLimitIntervalSec = 600;
      startLimitBurst = 30;
      serviceConfig = service.serviceConfig service.worker // {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = utils.escapeSystemdExecArgs [
          "${cfg.package}/bin/python"
          "-m"
          "task_server.manage"
          "migrate"
          "--no-input"
        ];
        Restart = "on-failure";
        RestartSec = 10;
        # Workers that waited for a try that failed are not started by the next
        # one, so it asks for them itself. As root: the user may start nothing.
        ExecStartPost = "+${config.systemd.package}/bin/systemctl start --no-block task-server.target";
        TimeoutStartSec = "infinity";
      };
    };
  };
}
