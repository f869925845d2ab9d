# `services.task-server`: workers, Flower, and what they stand on, as systemd
# units. Nix writes one TOML file and starts `task-server`; what a worker does
# is decided there.
{ self }:
{
  _file = ./default.nix;
  # One key, so that importing it twice (by itself, and through a project's
  # own module) declares the options once.
  key = "task-server#nixosModules.default";
  imports = [
    (import ./options.nix { inherit self; })
    ./assertions.nix
    ./servers.nix
    ./flower.nix
    ./migrations.nix
    ./workers.nix
  ];
}
