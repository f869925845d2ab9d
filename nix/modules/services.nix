# One unit for each service beside the workers that is enabled. And what the
# Prometheus of this machine collects.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.services.task-server;
  files = import ./config-file.nix { inherit config lib pkgs; };
  service = import ./service.nix { inherit config lib; };
  enabled = lib.filterAttrs (name: _: cfg.${name}.enable) (import ../services.nix).others;

  # Where this machine reaches the metrics.
  host =
    {
      "0.0.0.0" = "127.0.0.1";
      "::" = "::1";
    }
    .${cfg.metrics.address} or cfg.metrics.address;

  unit =
    name: row:
    lib.nameValuePair "task-server-${name}" {
      description = "${row.description} of ${cfg.app}";
      wantedBy = [ "task-server.target" ];
      partOf = [ "task-server.target" ];
      wants = service.network ++ service.servers;
      after = [ "task-server.target" ] ++ service.network ++ service.servers;
      inherit (service) unitConfig;
      environment = service.environment // {
        TASK_SERVER_CONFIG = "${files.ofService name}";
      };
      startLimitIntervalSec = 0;
      serviceConfig = service.serviceConfig row // {
        # What writes that it is ready does not notify systemd.
        Type = if row ? ready then "exec" else "notify";
        ExecStart = utils.escapeSystemdExecArgs [
          "${cfg.${name}.package or cfg.package}/bin/task-server"
          name
        ];
        Restart = "always";
        RestartSec = 5;
      };
    };
in
{
  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      (lib.mkIf cfg.metrics.enable {
        services.prometheus = {
          scrapeConfigs = [
            {
              job_name = "task-server";
              static_configs = [
                {
                  targets = [
                    "${if lib.hasInfix ":" host then "[${host}]" else host}:${toString cfg.metrics.port}"
                  ];
                }
              ];
            }
          ];
          ruleFiles = [ ../../deploy/prometheus/task-server.rules.yml ];
        };
      })
      {
        networking.firewall.allowedTCPPorts = lib.concatLists (
          lib.mapAttrsToList (
            name: row: lib.optional (row ? port && cfg.${name}.openFirewall) cfg.${name}.port
          ) enabled
        );
        systemd.services = lib.mapAttrs' unit enabled;
      }
    ]
  );
}
