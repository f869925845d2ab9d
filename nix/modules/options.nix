# Options of `services.task-server`. Names in snake_case are those of
# task-server.toml.
{ self }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkEnableOption
    mkOption
    types
    literalExpression
    literalMD
    ;
  cfg = config.services.task-server;
  toml = pkgs.formats.toml { };
  services = (import ../services.nix).others;
  ours = self.packages.${pkgs.stdenv.hostPlatform.system};

  # A path in the store is readable by everybody, and a path literal would be
  # copied there.
  outsideTheStore = types.pathWith {
    absolute = true;
    inStore = false;
  };
in
{
  options.services.task-server = {
    enable = mkEnableOption "Celery workers for a Django project";

    package = mkOption {
      type = types.package;
      default = ours.environment;
      defaultText = literalExpression "task-server.packages.\${system}.environment";
      example = literalExpression "(task-server.lib.mkTaskServer { … }).environment";
      description = ''
        Environment that has task-server and the packages that the project's
        code imports. `lib.mkTaskServer` makes one from the project's uv.lock,
        and a module that sets this option to it.
      '';
    };

    app = mkOption {
      type = types.str;
      example = "cl";
      description = ''
        The project's Celery app, as `celery --app` takes it. The module of
        `lib.mkTaskServer` gives it; without that it must be named.
      '';
    };

    code = mkOption {
      type = types.nullOr types.path;
      default = null;
      # One form for paths and strings, with the store path that a path becomes.
      apply = folder: if folder == null then null else "${folder}";
      example = "/opt/celery";
      description = ''
        Folder of the project's code, if `package` does not have it. A path
        outside the store is not watched: after a change, restart
        task-server.target, or task-server-migrate.service where migrations are
        enabled, which takes the workers along.
      '';
    };

    settingsFiles = mkOption {
      type = types.attrsOf outsideTheStore;
      default = { };
      example = {
        "11-private.py" = "/run/secrets/11-private.py";
      };
      description = ''
        Private settings files of the project (see `task_server.settings`), by
        the name under which they are read in their order. Root reads them; the
        workers get them as credentials.
      '';
    };

    mediaDir = mkOption {
      type = types.path;
      default = "/var/lib/task-server/media";
      apply = toString;
      example = "/sata";
      description = ''
        Folder that tasks write to; DJANGO_MEDIA_ROOT names it. Below
        /var/lib/task-server it is created; any other must exist and be writable
        by `user`, or the workers name it and stay down.
      '';
    };

    umask = mkOption {
      type = types.strMatching "0?[0-7]{3}";
      default = "0077";
      example = "0027";
      description = ''
        Permissions that files of workers, media among them, do not get. "0027"
        lets `group` read them, with the web server's user in it; "0022" lets
        everybody. For tasks' files that Django itself gives a mode,
        FILE_UPLOAD_PERMISSIONS counts.
      '';
    };

    user = mkOption {
      type = types.str;
      default = "task-server";
      example = "www-data";
      description = "User that everything runs as. Only the default is created; declare any other.";
    };

    group = mkOption {
      type = types.str;
      default = "task-server";
      example = "www-data";
      description = "Group that everything runs as. Only the default is created; declare any other.";
    };

    programs = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = literalExpression "[ pkgs.poppler-utils ]";
      description = "Packages whose programs tasks call.";
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        DJANGO_LOG_LEVEL = "WARNING";
      };
      description = ''
        Environment variables of workers, Flower and migrations. World-readable:
        they are in the Nix store. Secrets are `credentials` or `settingsFiles`.
      '';
    };

    credentials = mkOption {
      type = types.attrsOf outsideTheStore;
      default = { };
      example = {
        broker_url = "/run/secrets/broker-url";
        flower_basic_auth = "/run/secrets/flower";
      };
      description = ''
        Files that hold secrets, by the name of the setting that each one
        gives: `broker_url`, `result_backend`, `flower_basic_auth`. Others are
        for the project's own settings, which find them in
        CREDENTIALS_DIRECTORY. systemd hands them over; only root need be able
        to read the files.
      '';
    };

    settings = mkOption {
      type = types.submodule { freeformType = toml.type; };
      default = { };
      example = {
        visibility_timeout = 7200;
        flower.read_only = false;
      };
      description = ''
        More of task-server.toml. `task-server config check` judges the whole
        file when the machine's configuration is built.
      '';
    };

    workers = mkOption {
      type = types.attrsOf (types.submodule (import ./worker-options.nix { inherit lib toml; }));
      default = {
        prefork = { };
        gevent = { };
      };
      example = {
        prefork.memoryMax = "8G";
        gevent.settings.concurrency = 256;
        bulk.settings = {
          queues = [
            "batch1"
            "batch2"
          ];
          prefetch_multiplier = 5;
        };
      };
      description = ''
        The workers of this machine, by name: for each its `settings`, the table
        of task-server.toml, and the options of its unit.
      '';
    };

    memoryMax = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "24G";
      description = "Memory of all workers and Flower together.";
    };

    cpuQuota = mkOption {
      type = types.nullOr (types.strMatching "[0-9]+%");
      default = null;
      example = "1200%";
      description = "Processor time of all workers and Flower together.";
    };

    checkConfig = mkOption {
      type = types.bool;
      default = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
      defaultText = literalExpression "pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform";
      example = false;
      description = ''
        Whether task-server judges its file when the configuration is built.
        Off, the workers report a mistake when they start.
      '';
    };

    configFile = mkOption {
      type = types.path;
      readOnly = true;
      description = ''
        The file task-server.toml with everything, for the command `task-server`.
        A unit reads a file with its own part, so that a change of one worker
        restarts that one.
      '';
    };

    beat.enable = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether beat sends the project's periodic tasks from this machine. Of
        several machines with it on one broker, one sends, and another takes
        over within seconds of its death. `settings.beat` has its settings.
      '';
    };

    flower = {
      enable = mkEnableOption "Flower, which shows workers and tasks in a browser";

      package = mkOption {
        type = types.package;
        default = ours.flowerEnvironment;
        defaultText = literalExpression "task-server.packages.\${system}.flowerEnvironment";
        example = literalExpression "(task-server.lib.mkTaskServer { … }).flowerEnvironment";
        description = "Environment that has Flower, task-server and the project's packages.";
      };

      address = mkOption {
        type = types.str;
        default = "127.0.0.1";
        example = "0.0.0.0";
        description = ''
          Address that Flower listens on. Its pages /metrics and /healthcheck
          ask for no password, whatever `credentials.flower_basic_auth` says.
        '';
      };

      port = mkOption {
        type = types.port;
        default = services.flower.port;
        example = 8555;
        description = "TCP port that Flower listens on.";
      };

      openFirewall = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether other machines reach Flower's port.";
      };
    };

    metrics = {
      enable = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          Whether `task-server metrics` runs here, for Prometheus and for
          autoscalers, and whether the Prometheus of this machine, if it has
          one, collects it and has the alert rules.
        '';
      };

      package = mkOption {
        type = types.package;
        default = ours.metricsEnvironment;
        defaultText = literalExpression "task-server.packages.\${system}.metricsEnvironment";
        example = literalExpression "(task-server.lib.mkTaskServer { … }).metricsEnvironment";
        description = "Environment that has prometheus-client, task-server and the project's packages.";
      };

      address = mkOption {
        type = types.str;
        default = "127.0.0.1";
        example = "0.0.0.0";
        description = "Address that the metrics are served on. They ask for no password.";
      };

      port = mkOption {
        type = types.port;
        default = services.metrics.port;
        example = 9109;
        description = "TCP port that the metrics are served on.";
      };

      openFirewall = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether other machines reach the port of the metrics.";
      };
    };

    redis.createLocally = mkOption {
      type = types.bool;
      default = !(cfg.credentials ? broker_url || cfg.settings ? broker_url);
      defaultText = literalMD "`true`, unless `credentials` or `settings` have a `broker_url`";
      example = false;
      description = ''
        Whether this machine runs the broker: a Redis of its own, on a Unix
        socket, that refuses writes rather than forget tasks when it is full.
        The workers may open the socket; another user that makes tasks, such as
        the web server's, has to be in the group `redis-task-server`.
      '';
    };

    database.createLocally = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether this machine runs PostgreSQL with a database for the project,
        owned by `user` and called as it is, reached over a Unix socket without
        a password. DATABASE_URL, PGHOST and PGDATABASE say where it is.
      '';
    };

    migrations.enable = mkOption {
      type = types.bool;
      default = cfg.database.createLocally;
      defaultText = literalExpression "config.services.task-server.database.createLocally";
      example = true;
      description = ''
        Whether Django's migrations run before the workers start. Of several
        machines on one database, one should.
      '';
    };
  };
}
