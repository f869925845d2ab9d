# What the units of ours have in common.
{ config, lib }:
let
  cfg = config.services.task-server;
  services = import ../services.nix;

  # In a unit file, % begins a specifier.
  plain = lib.mapAttrs (_: lib.replaceStrings [ "%" ] [ "%%" ]);

  # ProtectHome hides homes, but code and media may be there.
  inHome = lib.filter (
    path:
    lib.any (home: lib.hasPrefix home path) [
      "/home/"
      "/root/"
    ]
  );
  inherit (cfg) mediaDir;
  code = lib.optional (cfg.code != null) cfg.code;

  # Optional for systemd, which would fail the unit with 226 and restart it again
  # and again; the program names the missing folder and exits with 78.
  ifPresent = map (path: "-${path}");

  # A secret of one service, such as Flower's password, is given to no other.
  secrets = lib.concatMap (row: row.secrets or [ ]) (lib.attrValues services.others);
  credentialsOf =
    row: removeAttrs cfg.credentials (lib.subtractLists (row.secrets or [ ]) secrets);

  # What is below the state folder is made by systemd; any other folder is the
  # machine's own, and its owner is not changed.
  ownMedia = lib.hasPrefix "/var/lib/task-server/" mediaDir;
in
{
  # Newer NixOS has a target for PostgreSQL that is reached when users and
  # databases are made, too.
  servers =
    lib.optional cfg.redis.createLocally "redis-task-server.service"
    ++ lib.optional cfg.database.createLocally (
      if config.systemd.targets ? postgresql then "postgresql.target" else "postgresql.service"
    );

  network = [ "network-online.target" ];

  environment =
    lib.optionalAttrs cfg.redis.createLocally {
      REDIS_URL = "redis+socket://${config.services.redis.servers.task-server.unixSocket}?virtual_host=0";
    }
    // lib.optionalAttrs cfg.database.createLocally (plain {
      DATABASE_URL = "postgres://%2Frun%2Fpostgresql/${cfg.user}";
      PGHOST = "/run/postgresql";
      PGDATABASE = cfg.user;
    })
    // {
      DJANGO_MEDIA_ROOT = mediaDir;
      PYTHONUNBUFFERED = "1";
    }
    // lib.optionalAttrs (cfg.settingsFiles != { }) {
      # The folder of the unit's credentials, where the settings files are.
      TASK_SERVER_SETTINGS_PATH = "%d";
    }
    // plain cfg.environment;

  inherit plain;

  # The row of the workers, as which the migrations run, too.
  inherit (services) worker;

  # Of a process of the service in this row of services.toml.
  serviceConfig =
    row:
    let
      writesMedia = row.writes_media;
    in
    import ./hardening.nix
    // {
      User = cfg.user;
      Group = cfg.group;
      # The group may open the socket of our Redis.
      SupplementaryGroups = lib.optional cfg.redis.createLocally (
        let
          redis = config.services.redis.servers.task-server;
        in
        redis.group or redis.user
      );
      Slice = "system-taskserver.slice";

      LoadCredential = lib.mapAttrsToList (name: path: "${name}:${path}") (
        credentialsOf row // cfg.settingsFiles
      );

      UMask = cfg.umask;
      StateDirectory = [
        "task-server"
      ]
      ++ lib.optional ownMedia (lib.removePrefix "/var/lib/" mediaDir);
      # Anyone who may read the files may enter their folder.
      StateDirectoryMode = if lib.hasSuffix "7" cfg.umask then "0750" else "0755";
      WorkingDirectory = "/var/lib/task-server";
      ReadWritePaths = ifPresent (lib.optional (writesMedia && !ownMedia) mediaDir);
      ReadOnlyPaths = ifPresent (lib.optional (!writesMedia) mediaDir);
      # An empty folder can have something bound into it.
      ProtectHome = if inHome ([ mediaDir ] ++ code) == [ ] then true else "tmpfs";
      BindPaths = ifPresent (lib.optionals writesMedia (inHome [ mediaDir ]));
      BindReadOnlyPaths = ifPresent (inHome (lib.optional (!writesMedia) mediaDir ++ code));

      # A mistake in the configuration stays where its message is read.
      RestartPreventExitStatus = 78;
    };

  unitConfig.RequiresMountsFor = [ mediaDir ] ++ code;
}
