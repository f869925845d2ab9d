# One machine with everything: what an operator does to it, in one day.
_:
{
  name = "task-server-one-machine";

  nodes.machine =
    { config, pkgs, ... }:
    let
      cfg = config.services.task-server;
      # The reference project's own command, as the workers' user, who may open
      # the socket of Redis in the units alone. A transient unit has no PATH.
      docket = pkgs.writeShellScriptBin "docket-here" ''
        export PGHOST=/run/postgresql PGDATABASE=${cfg.user}
        export REDIS_URL="${config.systemd.services.task-server-prefork.environment.REDIS_URL}"
        export DJANGO_MEDIA_ROOT=${cfg.mediaDir}
        exec ${pkgs.util-linux}/bin/runuser --user ${cfg.user} --group ${cfg.group} \
          --supp-group ${config.services.redis.servers.task-server.user} \
          -- ${cfg.package}/bin/docket "$@"
      '';
    in
    {
      virtualisation = {
        memorySize = 2048;
        cores = 2;
      };
      environment.systemPackages = [
        docket
        pkgs.curl
      ];
      services.task-server = {
        enable = true;
        app = "docket";
        database.createLocally = true;
        flower.enable = true;
        workers = {
          prefork.settings.concurrency = 2;
          gevent.settings.concurrency = 32;
        };
      };

      specialisation = {
        # A change that restarts the worker.
        other.configuration.services.task-server.workers.prefork.settings.prefetch_multiplier = 2;
        # A mistake that the check at build time did not see.
        broken.configuration.services.task-server = {
          checkConfig = false;
          workers.prefork.settings.concurency = 3;
        };
      };
    };

  testScript = builtins.readFile ./one_machine.py;
}
