# Redis and PostgreSQL on the same machine, over Unix sockets.
{ config, lib, ... }:
let
  cfg = config.services.task-server;
in
{
  config = lib.mkIf cfg.enable {
    services.redis.servers.task-server = lib.mkIf cfg.redis.createLocally {
      enable = true;
      # No TCP: the socket alone.
      port = 0;
      # Tasks are in no other place: they outlive a restart …
      appendOnly = true;
      # … and none is dropped when the memory is full.
      settings.maxmemory-policy = "noeviction";
    };

    services.postgresql = lib.mkIf cfg.database.createLocally {
      enable = true;
      # PostgreSQL lets a user of the system in under its own name.
      ensureDatabases = [ cfg.user ];
      ensureUsers = [
        {
          name = cfg.user;
          ensureDBOwnership = true;
        }
      ];
    };
  };
}
