# A machine with a broker and the project `errands`, whose tasks misbehave on
# demand: `errand sleep first 10` sends one, and what it did is in the media folder.
{ config, pkgs, ... }:
let
  cfg = config.services.task-server;
  inherit (config.services.redis.servers.task-server) unixSocket;
in
{
  virtualisation = {
    memorySize = 2048;
    cores = 2;
  };
  environment.systemPackages = [
    (pkgs.writeShellScriptBin "errand" ''
      export PYTHONPATH=${cfg.code}
      export REDIS_URL="redis+socket://${unixSocket}?virtual_host=0"
      exec ${cfg.package}/bin/python -m errands.send "$@"
    '')
    # How many messages wait in a queue.
    (pkgs.writeShellScriptBin "waiting" ''
      exec ${pkgs.redis}/bin/redis-cli -s ${unixSocket} llen "$1"
    '')
  ];
  services.task-server = {
    enable = true;
    app = "errands";
    code = ../project;
  };
}
