# `services.task-server`: workers, Flower, beat, metrics, and what they stand on, as systemd
# units. Nix writes the TOML files and starts `task-server`; what a worker does
# is decided there.
{ lib, self }:
{
  # One key, so that importing it twice (alone, and through a project's own
  # module) declares the options once.
  key = "task-server#nixosModules.default";
  imports = [
    (lib.modules.importApply ./options.nix { inherit self; })
    ./assertions.nix
    ./migrations.nix
    ./servers.nix
    ./services.nix
    ./system.nix
    ./workers.nix
  ];
}
