# `pkgs.task-server`: the environment of this repository, built with the
# nixpkgs that the overlay is put on.
{ self }:
final: _prev: {
  task-server =
    (self.lib.mkTaskServer (
      import ./self.nix {
        inherit (final) lib;
        inherit self;
        inherit (final.stdenv.hostPlatform) system;
      }
      // {
        pkgs = final;
      }
    )).environment;
}
