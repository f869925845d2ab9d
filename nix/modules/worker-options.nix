# Options of one worker: `settings`, its table in task-server.toml, and beside it
# the options of its unit.
{ lib, toml }:
{ name, config, ... }:
let
  inherit (lib)
    literalExpression
    literalMD
    mkOption
    types
    ;
  builtIn = lib.importJSON ./built-in-workers.json;
  pools = lib.unique (lib.catAttrs "pool" (lib.attrValues builtIn));
in
{
  imports = [ ./worker-renames.nix ];

  options = {
    enable = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether this machine runs the worker.";
    };

    settings = mkOption {
      type = types.submodule {
        freeformType = toml.type;
        options = {
          pool = mkOption {
            type = types.enum pools;
            default = builtIn.${name}.pool or "prefork";
            defaultText = literalMD "`gevent` for the worker `gevent`, otherwise `prefork`";
            example = "gevent";
            description = "Execution pool: prefork for work that computes, gevent for work that waits.";
          };

          queues = mkOption {
            type = types.either (types.enum [ "all" ]) (types.nonEmptyListOf types.str);
            default = builtIn.${name}.queues or [ "celery" ];
            defaultText = literalMD "`io_bound` for the worker `gevent`, both for `all`, otherwise `celery`";
            example = [
              "batch1"
              "batch2"
              "iauploads"
            ];
            description = ''
              Queues that the worker takes tasks from; "all" is every queue of the project.
            '';
          };

          concurrency = mkOption {
            type = types.nullOr (types.either types.ints.positive (types.enum [ "auto" ]));
            default = null;
            example = 256;
            description = ''
              Tasks at once. Null leaves it to the pool: as many processes as
              `cpuQuota` (or the machine) has processors, or 512 greenlets.
            '';
          };

          drain_seconds = mkOption {
            type = types.numbers.nonnegative;
            default = 30;
            example = 600;
            description = ''
              How many seconds running tasks may go on when the unit stops. What has
              not ended then goes back to its queue.
            '';
          };
        };
      };
      default = { };
      example = {
        concurrency = 256;
        prefetch_multiplier = 5;
      };
      description = ''
        The worker's table in task-server.toml: every setting of a worker that
        `task-server config show` lists.
      '';
    };

    instances = mkOption {
      type = types.ints.positive;
      default = 1;
      example = 4;
      description = ''
        How many of this worker run. More than one are called NAME-1, NAME-2
        and so on, as units and as Celery nodes.
      '';
    };

    stopTimeout = mkOption {
      type = types.ints.positive;
      default = builtins.ceil config.settings.drain_seconds + 30;
      defaultText = literalExpression "settings.drain_seconds + 30";
      example = 660;
      description = ''
        Seconds after which systemd kills a worker that was asked to stop. It
        must be above `settings.drain_seconds`: a worker that is killed loses what it
        knows of its tasks, and they wait for the visibility timeout.
      '';
    };

    memoryMax = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "4G";
      description = ''
        Memory of each instance, as systemd writes it. The worker reads it and
        replaces children (prefork) or drains and restarts (gevent) below it.
      '';
    };

    cpuQuota = mkOption {
      type = types.nullOr (types.strMatching "[0-9]+%");
      default = null;
      example = "400%";
      description = "Processor time of each instance; 400% is four processors.";
    };

    privateNetwork = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether the worker has no network but Unix sockets. For tasks that need
        none, and only with a broker and a database on sockets.
      '';
    };

    restartIfChanged = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether a new configuration of the machine restarts the worker, which
        drains first. Without, it goes on as it is until it is restarted by
        hand.
      '';
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        OMP_NUM_THREADS = "1";
      };
      description = "Environment variables of this worker alone. World-readable: they are in the Nix store.";
    };
  };
}
