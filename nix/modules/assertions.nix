# What is refused before anything is built, because the program could not see
# it: it knows neither systemd nor the store.
{ config, lib, ... }:
let
  cfg = config.services.task-server;
  instances = import ./instances.nix { inherit lib cfg; };
  here = "services.task-server";

  # The variables of a setting are in upper case and know no hyphen.
  asVariable = name: lib.toUpper (lib.replaceStrings [ "-" ] [ "_" ] name);
  names = lib.groupBy (one: asVariable one.name) instances;
  services = (import ../services.nix).others;
  listening = lib.filterAttrs (_: row: row ? port) services;
  units = lib.attrNames services ++ [ "migrate" ];
  # The setting of a service that each of its secrets gives.
  secretSettings = name: row: map (lib.removePrefix "${name}_") (row.secrets or [ ]);
  # Whether other machines reach it.
  isReached =
    name:
    cfg.${name}.enable
    && !(lib.elem cfg.${name}.address [
      "127.0.0.1"
      "::1"
      "localhost"
    ]);
  inSettings = name: setting: cfg.settings ? ${name} && cfg.settings.${name} ? ${setting};

  hasPassword = value: lib.isString value && builtins.match ".*://[^/@]*:[^/@]*@.*" value != null;
  environments = [
    {
      option = "${here}.environment";
      variables = cfg.environment;
    }
  ]
  ++ lib.mapAttrsToList (name: worker: {
    option = "${here}.workers.${name}.environment";
    variables = worker.environment;
  }) cfg.workers;

  secretNames = [
    "broker_url"
    "result_backend"
  ];
  ownOptions = [
    "app"
    "code"
    "workers"
  ];

  onSocket =
    cfg.redis.createLocally || lib.hasPrefix "redis+socket://" (cfg.settings.broker_url or "");
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      lib.mapAttrsToList (name: worker: {
        assertion = worker.settings.drain_seconds < worker.stopTimeout;
        message =
          "${here}.workers.${name}: settings.drain_seconds (${toString worker.settings.drain_seconds}) is not below "
          + "stopTimeout (${toString worker.stopTimeout}), so systemd would kill the worker while it "
          + "drains; lower drain_seconds or raise stopTimeout.";
      }) cfg.workers
      ++ lib.mapAttrsToList (_: same: {
        assertion = lib.length same == 1;
        message =
          "${here}.workers: ${toString (lib.length same)} workers would have the node name "
          + "${(lib.head same).name}@${config.networking.hostName} "
          + "(${lib.concatStringsSep ", " (map (one: one.name) same)}); rename one, or say `instances`.";
      }) names
      ++ map (one: {
        assertion = !(lib.elem one.name units);
        message = "${here}.workers.${one.name}: task-server-${one.name}.service is another unit; rename the worker.";
      }) instances
      ++ lib.mapAttrsToList (name: worker: {
        assertion = worker.privateNetwork -> onSocket;
        message =
          "${here}.workers.${name}.privateNetwork: the broker is not on a Unix socket, so the worker "
          + "could not reach it; leave privateNetwork off, or use redis.createLocally.";
      }) cfg.workers
      ++ map (name: {
        assertion = !(cfg.settings ? ${name});
        message = "${here}.settings.${name}: set ${here}.${name} instead.";
      }) ownOptions
      ++ lib.concatMap (
        name:
        map
          (setting: {
            assertion = !(inSettings name setting);
            message = "${here}.settings.${name}.${setting}: set ${here}.${name}.${setting} instead.";
          })
          [
            "address"
            "port"
          ]
      ) (lib.attrNames listening)
      ++ lib.concatLists (
        lib.mapAttrsToList (
          name: row:
          map (setting: {
            assertion = !(inSettings name setting);
            message =
              "${here}.settings.${name}.${setting} would be readable by everybody in the Nix store; "
              + "write it to a file and name that in ${here}.credentials.${name}_${setting}.";
          }) (secretSettings name row)
        ) services
      )
      ++ map (name: {
        assertion = !(hasPassword (cfg.settings.${name} or null));
        message =
          "${here}.settings.${name} has a password, which everybody could read in the Nix store; "
          + "write the URL to a file and name that in ${here}.credentials.${name}.";
      }) secretNames
      ++ [
        {
          assertion = config.users.users ? ${cfg.user};
          message =
            "${here}.user: there is no user ${cfg.user}, so no unit could start; declare "
            + "users.users.${cfg.user}, or leave the option out.";
        }
        {
          assertion = config.users.groups ? ${cfg.group};
          message =
            "${here}.group: there is no group ${cfg.group}, so no unit could start; declare "
            + "users.groups.${cfg.group}, or leave the option out.";
        }
        {
          assertion = !(cfg.settings ? runtime_dir);
          message = "${here}.settings.runtime_dir: leave it out; systemd makes the folder of heartbeats, /run/task-server.";
        }
        {
          assertion =
            !(cfg.redis.createLocally && (cfg.credentials ? broker_url || cfg.settings ? broker_url));
          message =
            "${here}: redis.createLocally makes a broker here and broker_url names another; "
            + "set redis.createLocally = false, or leave broker_url out.";
        }
      ]
      ++ lib.concatMap (
        { option, variables }:
        lib.mapAttrsToList (variable: value: {
          assertion = !(hasPassword value);
          message =
            "${option}.${variable} has a password, which everybody could read in the Nix store; "
            + "use ${here}.credentials or ${here}.settingsFiles.";
        }) variables
      ) environments
      ++ map (name: {
        assertion = builtins.match "[0-9][0-9]-.*\\.py" name != null;
        message = "${here}.settingsFiles: '${name}' would not be read; name it as in 11-private.py.";
      }) (lib.attrNames cfg.settingsFiles);

    warnings =
      lib.concatLists (
        lib.mapAttrsToList (
          name: worker: map (warning: "${here}.workers.${name}: ${warning}") worker.warnings
        ) cfg.workers
      )
      ++ lib.concatLists (
        lib.mapAttrsToList (
          name: row:
          map (
            secret:
            "${here}.${name} listens on ${cfg.${name}.address} and asks for no password; "
            + "set ${here}.credentials.${secret}."
          ) (lib.filter (secret: !(cfg.credentials ? ${secret})) (row.secrets or [ ]))
        ) (lib.filterAttrs (name: _: isReached name) listening)
      );
  };
}
