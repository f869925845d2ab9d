# The Swarm stack, pinned to the images that are built: stack.yml, and the program
# that loads them into the engine of a node.
{
  lib,
  pkgs,
  name,
  images,
}:
let
  pinned = lib.mapAttrs (_: image: image.pinned) {
    inherit (images) preforkWorkerImage geventWorkerImage flowerImage;
  };

  # What stack.yml says where nobody pins anything, and what takes its place.
  names = {
    "task-server-prefork:latest" = pinned.preforkWorkerImage;
    "task-server-gevent:latest" = pinned.geventWorkerImage;
    "task-server-flower:latest" = pinned.flowerImage;
  };

  loadImages = import ./load-images.nix {
    inherit lib pkgs name;
    images = lib.attrValues pinned;
  };
in
pkgs.writeTextFile {
  name = "${name}-stack";
  destination = "/stack.yml";
  text = lib.replaceStrings (lib.attrNames names) (lib.mapAttrsToList (
    _: image: "${image.imageName}:${image.imageTag}"
  ) names) (lib.readFile ../deploy/swarm/stack.yml);
  derivationArgs.passthru = { inherit loadImages pinned; };
  meta.description = "The Swarm stack of ${name}; `.loadImages` loads what it runs";
}
