# The Swarm stack, pinned to the images that are built: stack.yml, and the program
# that loads them into the engine of a node.
{
  lib,
  pkgs,
  name,
  impliedApp,
  code,
  images,
}:
let
  # Each worker of the stack has one pool: the image of one for all queues is not in it.
  pinned = lib.mapAttrs (_: image: image.pinned) (removeAttrs images [ "workerImage" ]);

  text = import ./stack-text.nix {
    images = lib.mapAttrs' (
      _: image:
      lib.nameValuePair "task-server-${lib.removePrefix "${name}-" image.imageName}:latest" "${image.imageName}:${image.imageTag}"
    ) pinned;
    app = impliedApp;
    codeInImage = code != null;
  };

  loadImages = import ./load-images.nix {
    inherit lib pkgs name;
    images = lib.attrValues pinned;
  };
in
pkgs.writeTextFile {
  name = "${name}-stack";
  destination = "/stack.yml";
  inherit text;
  derivationArgs.passthru = { inherit loadImages pinned text; };
  meta.description = "The Swarm stack of ${name}; `.loadImages` loads what it runs";
}
