# A machine with everything for the reference project, and its own command.
{ config, pkgs, ... }:
let
  cfg = config.services.task-server;
  redis = config.services.redis.servers.task-server;
  # As the workers' user, who may open the socket of Redis in the units alone. A
  # transient unit has no PATH.
  docket = pkgs.writeShellScriptBin "docket-here" ''
    export PGHOST=/run/postgresql PGDATABASE=${cfg.user}
    export REDIS_URL="redis+socket://${redis.unixSocket}?virtual_host=0"
    export DJANGO_MEDIA_ROOT=${cfg.mediaDir}
    exec ${pkgs.util-linux}/bin/runuser --user ${cfg.user} --group ${cfg.group} \
      --supp-group ${redis.user} -- ${cfg.package}/bin/docket "$@"
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
}
