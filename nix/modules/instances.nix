# The workers as they are started: one row for each instance, with the name
# that its unit, its node and its table in task-server.toml have.
{ lib, cfg }:
let
  instancesOf =
    name: worker:
    map (number: {
      name = if worker.instances == 1 then name else "${name}-${toString number}";
      inherit worker;
    }) (lib.range 1 worker.instances);
in
lib.concatLists (
  lib.mapAttrsToList instancesOf (lib.filterAttrs (_: worker: worker.enable) cfg.workers)
)
