# `nix run .#up` and its like.
{
  lib,
  pkgs,
  name,
  app,
  impliedApp,
  flowerEnvironment,
  images,
  isLinux,
  programs,
  ...
}:
let
  servers = [
    pkgs.redis
    pkgs.postgresql
  ];

  # `task-server COMMAND` with the servers that it starts on its PATH.
  run =
    command: description:
    let
      script = pkgs.writeShellApplication {
        name = "${name}-${command}";
        # Flower's environment has what `up` starts beside the workers.
        runtimeInputs = [ flowerEnvironment ] ++ servers ++ programs;
        text =
          lib.optionalString (impliedApp != null) ''
            export TASK_SERVER_APP="''${TASK_SERVER_APP:-${impliedApp}}"
          ''
          + ''
            exec task-server ${command} "$@"
          '';
      };
    in
    {
      type = "app";
      program = lib.getExe script;
      meta = { inherit description; };
    };

  loadImages = import ./load-images.nix {
    inherit lib pkgs name;
    images = lib.attrValues images;
  };
in
{
  up = run "up" "Redis, PostgreSQL, both workers and Flower, in this terminal";
}
# The demonstration works on the reference project and no other.
// lib.optionalAttrs (app == "docket") {
  demo = run "demo" "The whole system at work on a few documents, then its end";
}
// lib.optionalAttrs isLinux {
  load-images = {
    type = "app";
    program = lib.getExe loadImages;
    meta.description = "Load the four images into docker (or podman), with no tarball on the way";
  };
}
