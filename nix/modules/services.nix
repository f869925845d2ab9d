# Flower, and what Prometheus reads from it.
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
  prefix = lib.removeSuffix "/" (cfg.settings.flower.url_prefix or "");
  # Where this machine reaches it.
  host = if cfg.flower.address == "0.0.0.0" then "127.0.0.1" else cfg.flower.address;
in
{
  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      { services.task-server.flower.enable = lib.mkIf cfg.metrics.enable true; }
      (lib.mkIf cfg.metrics.enable {
        services.prometheus.scrapeConfigs = [
          {
            job_name = "task-server";
            metrics_path = lib.optionalString (prefix != "") "/${lib.removePrefix "/" prefix}" + "/metrics";
            static_configs = [
              {
                targets = [
                  "${lib.optionalString (lib.hasInfix ":" host) "["}${host}${lib.optionalString (lib.hasInfix ":" host) "]"}:${toString cfg.flower.port}"
                ];
              }
            ];
          }
        ];
      })
      (lib.mkIf cfg.flower.enable {
        networking.firewall.allowedTCPPorts = lib.optional cfg.flower.openFirewall cfg.flower.port;

        systemd.services.task-server-flower = {
          description = "Flower, which shows the Celery workers of ${cfg.app}";
          wantedBy = [ "task-server.target" ];
          partOf = [ "task-server.target" ];
          wants = service.network ++ service.servers;
          after = [ "task-server.target" ] ++ service.network ++ service.servers;
          inherit (service) unitConfig;
          environment = service.environment // {
            TASK_SERVER_CONFIG = "${files.ofFlower}";
          };
          startLimitIntervalSec = 0;
          serviceConfig = service.serviceConfig {
            inherit (cfg) credentials;
            # It loads the project's app, and writes no file of it.
            writesMedia = false;
          }
          // {
            Type = "exec";
            ExecStart = utils.escapeSystemdExecArgs [
              "${cfg.flower.package}/bin/task-server"
              "flower"
            ];
            Restart = "always";
            RestartSec = 5;
          };
        };
      })
    ]
  );
}
