# Options of one worker. Those in snake_case are settings of task-server.toml,
# and so is every other name that is not declared here; the others are
# systemd's affair.
{
  lib,
  toml,
}:
{ name, config, ... }:
let
  inherit (lib) mkOption types literalExpression;
  builtIn = lib.importJSON ./built-in-workers.json;
  pools = lib.unique (lib.catAttrs "pool" (lib.attrValues builtIn));
in
{
  freeformType = toml.type;

  options = {
    enable = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether this machine runs the worker.";
    };

    pool = mkOption {
      type = types.enum pools;
      default = builtIn.${name}.pool or "prefork";
      defaultText = literalExpression ''"gevent" for the worker gevent, otherwise "prefork"'';
      example = "gevent";
      description = "Execution pool: prefork for work that computes, gevent for work that waits.";
    };

    queues = mkOption {
      type = types.either (types.enum [ "all" ]) (types.nonEmptyListOf types.str);
      default = builtIn.${name}.queues or [ "celery" ];
      defaultText = literalExpression ''[ "io_bound" ] for the worker gevent, otherwise [ "celery" ]'';
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
      default = builtins.ceil config.drain_seconds + 30;
      defaultText = literalExpression "drain_seconds + 30";
      example = 660;
      description = ''
        Seconds after which systemd kills a worker that it told to stop. It
        must be above `drain_seconds`: a worker that is killed loses what it
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
      description = "More environment variables of this worker. Everybody can read them.";
    };
  };
}
