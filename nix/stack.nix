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
  pinned = lib.mapAttrs (_: image: image.pinned) {
    inherit (images) preforkWorkerImage geventWorkerImage flowerImage;
  };

  text = import ./stack-text.nix {
    images = lib.mapAttrs (_: image: "${image.imageName}:${image.imageTag}") {
      "task-server-prefork:latest" = pinned.preforkWorkerImage;
      "task-server-gevent:latest" = pinned.geventWorkerImage;
      "task-server-flower:latest" = pinned.flowerImage;
    };
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
