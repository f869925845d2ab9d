# Django's migrations, before the workers.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.services.task-server;
  common = import ./service.nix { inherit config lib pkgs; };
in
{
  config = lib.mkIf (cfg.enable && cfg.migrations.enable) {
    systemd.services.task-server-migrate = {
      description = "Migrations of the database of ${cfg.app}";
      wants = common.network ++ common.servers;
      after = common.network ++ common.servers;
      inherit (common) unitConfig;
      # Restarted in one go after the switch, as the workers are, which it takes
      # along: they drain before it runs and start when it has.
      stopIfChanged = false;
      # Nothing of it stands in task-server.toml, so that a change of a worker
      # does not run it anew.
      environment =
        removeAttrs common.environment [ "TASK_SERVER_CONFIG" ]
        // {
          # Which project it is stands in the file, which Django's commands do
          # not read.
          TASK_SERVER_APP = cfg.app;
        }
        // lib.optionalAttrs (cfg.code != null) { PYTHONPATH = toString cfg.code; }
        // lib.optionalAttrs (cfg.settings ? settings_module) {
          DJANGO_SETTINGS_MODULE = cfg.settings.settings_module;
        };

      # The database may come up after us.
      startLimitIntervalSec = 600;
      startLimitBurst = 30;
      serviceConfig = common.serviceConfig { inherit (common) credentials; } // {
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
