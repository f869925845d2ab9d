# Broker and database on one machine, workers on two others.
{ lib, environment, ... }:
let
  password = "not-a-secret-in-a-test";
  # The same on each machine that has the media folder.
  uid = 880;

  worker =
    names:
    { config, pkgs, ... }:
    let
      cfg = config.services.task-server;
    in
    {
      virtualisation = {
        memorySize = 1024;
        fileSystems."/sata" = {
          device = "server:/";
          fsType = "nfs4";
        };
      };
      users.users.task-server.uid = uid;
      # In place of what puts secrets on a machine.
      environment.etc = {
        "secrets/broker-url".text = "redis://:${password}@server:6379/0";
        "secrets/11-private.py".source = ./machine/private_settings.py;
      };
      environment.systemPackages = [
        (pkgs.writeShellScriptBin "docket-here" ''
          export REDIS_URL="redis://:${password}@server:6379/0"
          export TASK_SERVER_SETTINGS_PATH=/etc/secrets
          export DJANGO_MEDIA_ROOT=${cfg.mediaDir}
          exec ${cfg.package}/bin/docket "$@"
        '')
      ];
      services.task-server = {
        enable = true;
        app = "docket";
        mediaDir = "/sata";
        credentials.broker_url = "/etc/secrets/broker-url";
        credentials.result_backend = "/etc/secrets/broker-url";
        settingsFiles."11-private.py" = "/etc/secrets/11-private.py";
        # One of the machines migrates.
        migrations.enable = lib.elem "prefork" names;
        workers = lib.genAttrs names (_: {
          settings.concurrency = 4;
        });
      };
    };
in
{
  name = "task-server-three-machines";

  nodes = {
    server =
      { pkgs, ... }:
      {
        networking.firewall.allowedTCPPorts = [
          2049
          5432
          6379
          8000
        ];
        environment.systemPackages = [
          pkgs.python3
          (pkgs.writeShellScriptBin "make-samples" ''
            exec ${environment}/bin/python ${./machine/make_samples.py} "$@"
          '')
        ];
        # The media folder that the workers share.
        systemd.tmpfiles.settings.media."/sata".d = {
          user = toString uid;
          group = "root";
          mode = "0750";
        };
        services = {
          nfs.server = {
            enable = true;
            exports = "/sata *(rw,fsid=0,no_subtree_check)";
          };
          redis.servers."" = {
            enable = true;
            bind = null;
            requirePass = password;
            appendOnly = true;
          };
          postgresql = {
            enable = true;
            enableTCPIP = true;
            authentication = "host docket docket all trust";
            ensureDatabases = [ "docket" ];
            ensureUsers = [
              {
                name = "docket";
                ensureDBOwnership = true;
              }
            ];
          };
        };
      };
    cpu = worker [ "prefork" ];
    net = worker [ "gevent" ];
  };

  testScript = builtins.readFile ./three_machines.py;
}
