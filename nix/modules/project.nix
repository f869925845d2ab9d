# `services.task-server` with the packages of one project as defaults: what
# `mkTaskServer` returns as `nixosModule`.
{
  lib,
  self,
  # One of both: the project built with one nixpkgs, or one for each system.
  project ? null,
  perSystem ? null,
}:
{
  imports = [
    (lib.modules.importApply ./. { inherit lib self; })
    (
      { pkgs, ... }:
      let
        inherit (pkgs.stdenv.hostPlatform) system;
        ours =
          if project != null then
            project
          else
            perSystem.${system} or (throw "task-server: the project is not built for ${system}");
      in
      {
        services.task-server = {
          package = lib.mkDefault ours.environment;
          app = lib.mkDefault ours.app;
          code = lib.mkIf (ours.code != null) (lib.mkDefault ours.code);
          programs = lib.mkDefault ours.programs;
          settings = lib.mapAttrs (_: lib.mkDefault) ours.settings;
        }
        # The services that need more packages than a worker.
        // lib.mapAttrs (name: _: { package = lib.mkDefault ours."${name}Environment"; }) (
          lib.filterAttrs (_: row: row ? extra) (import ../services.nix).others
        );
      }
    )
  ];
}
