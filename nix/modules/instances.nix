# The workers as they are started: one row for each instance, with the name
# that its unit, its node and its table in task-server.toml have.
{ lib, cfg }:
let
  # What systemd is told and task-server.toml is not.
  ofSystemd = [
    "_module"
    "cpuQuota"
    "enable"
    "environment"
    "instances"
    "memoryMax"
    "privateNetwork"
    "restartIfChanged"
    "stopTimeout"
  ];
in
lib.concatLists (
  lib.mapAttrsToList (
    name: worker:
    let
      row = instance: {
        name = if worker.instances == 1 then name else "${name}-${toString instance}";
        inherit worker;
        settings = removeAttrs worker ofSystemd;
      };
    in
    map row (lib.range 1 worker.instances)
  ) (lib.filterAttrs (_: worker: worker.enable) cfg.workers)
)
