# One machine with k3s, and with Redis and PostgreSQL beside it: the Kubernetes manifests
# and the images, as Nix builds them.
{ environment, kubernetes, ... }:
let
  password = "not-a-secret-in-a-test";
  namespace = "task-server";
in
{
  name = "task-server-k3s";

  nodes.machine =
    {
      config,
      lib,
      pkgs,
      ...
    }:
    let
      address = config.networking.primaryIPAddress;
      broker = "redis://:${password}@${address}:6379/0";
      database = "postgres://docket@${address}/docket";
      # There is no registry to pull the one of Kubernetes from.
      pause = pkgs.dockerTools.buildImage {
        name = "test.local/pause";
        tag = "local";
        config.Entrypoint = [
          (lib.getExe pkgs.catatonit)
          "-P"
        ];
      };
    in
    {
      virtualisation = {
        cores = 2;
        # An update has twice the pods, of 1 GiB each.
        memorySize = 6144;
        diskSize = 10240;
      };
      environment = {
        etc."task-server/manifests".source = kubernetes;
        systemPackages = [
          (pkgs.writeShellScriptBin "docket-here" ''
            export REDIS_URL="${broker}" DATABASE_URL="${database}" DJANGO_MEDIA_ROOT=/var/lib/docket
            exec ${environment}/bin/docket "$@"
          '')
        ];
      };
      # Pods of user 33 write there; nobody changes the owner of a node's folder for them.
      systemd = {
        tmpfiles.settings.media."/var/lib/docket".d = {
          user = "33";
          group = "33";
          mode = "0750";
        };
        services.samples = {
          wantedBy = [ "multi-user.target" ];
          preStart = "${environment}/bin/python ${./machine/make_samples.py} $RUNTIME_DIRECTORY";
          script = "exec ${environment}/bin/python -m http.server --directory $RUNTIME_DIRECTORY 8000";
          serviceConfig.RuntimeDirectory = "samples";
        };
      };
      # What pods reach the machine by.
      networking.firewall.trustedInterfaces = [ "cni0" ];
      services = {
        redis.servers."" = {
          enable = true;
          bind = null;
          requirePass = password;
          appendOnly = true;
          settings.maxmemory-policy = "noeviction";
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
        k3s = {
          enable = true;
          role = "server";
          images = [
            pause
            kubernetes.pinned.worker
          ];
          extraFlags = [
            "--disable=coredns,local-storage,metrics-server,servicelb,traefik"
            "--pause-image=test.local/pause:local"
          ];
          # What an operator has before the manifests.
          manifests.docket.content = [
            {
              apiVersion = "v1";
              kind = "Namespace";
              metadata = {
                name = namespace;
                labels."pod-security.kubernetes.io/enforce" = "restricted";
              };
            }
            {
              apiVersion = "v1";
              kind = "Secret";
              metadata = {
                inherit namespace;
                name = "docket";
              };
              stringData = {
                REDIS_URL = broker;
                DATABASE_URL = database;
              };
            }
            {
              apiVersion = "v1";
              kind = "PersistentVolume";
              metadata.name = "media";
              spec = {
                accessModes = [ "ReadWriteMany" ];
                capacity.storage = "1Gi";
                hostPath.path = "/var/lib/docket";
                storageClassName = "";
              };
            }
            {
              apiVersion = "v1";
              kind = "PersistentVolumeClaim";
              metadata = {
                inherit namespace;
                name = "media";
              };
              spec = {
                accessModes = [ "ReadWriteMany" ];
                resources.requests.storage = "1Gi";
                storageClassName = "";
                volumeName = "media";
              };
            }
          ];
        };
      };
    };

  testScript =
    { nodes, ... }:
    ''
      ADDRESS = "${nodes.machine.networking.primaryIPAddress}"
    ''
    + builtins.readFile ./k3s.py;
}
