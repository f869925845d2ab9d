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
  common = import ./service.nix { inherit config lib pkgs; };
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
          wants = common.network ++ common.servers;
          after = [ "task-server.target" ] ++ common.network ++ common.servers;
          inherit (common) environment unitConfig;
          startLimitIntervalSec = 0;
          serviceConfig = common.serviceConfig { inherit (cfg) credentials; } // {
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
