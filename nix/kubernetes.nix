# The manifests that the program writes from the project's task-server.toml, with the images that
# are built: a kustomize base, and the program that loads the images into the engine of a node.
{
  lib,
  pkgs,
  name,
  impliedApp,
  workspaceRoot,
  settings,
  images,
  # The project's packages, and what the command needs.
  environment,
}:
let
  file = workspaceRoot + "/task-server.toml";
  written = lib.optionalAttrs (lib.pathExists file) (lib.importTOML file);
  config = (pkgs.formats.toml { }).generate "task-server.toml" (lib.recursiveUpdate settings written);

  # One image runs every worker; what needs more packages has its own.
  pinned = lib.mapAttrs (_: image: image.pinned) {
    worker = images.workerImage;
    flower = images.flowerImage;
    metrics = images.metricsImage;
  };
  reference = image: "${image.imageName}:${image.imageTag}";

  description = lib.importJSON ../deploy/image.json;
in
pkgs.runCommand "${name}-kubernetes"
  {
    nativeBuildInputs = [ environment ];
    env = {
      TASK_SERVER_CONFIG = config;
      TASK_SERVER_KUBERNETES_IMAGES = lib.concatStringsSep "," (
        lib.mapAttrsToList (service: image: "${service}=${reference image}") (
          removeAttrs pinned [ "worker" ]
        )
      );
      TASK_SERVER_KUBERNETES_IMAGE = reference pinned.worker;
      TASK_SERVER_KUBERNETES_COMMAND = lib.concatStringsSep " " description.config.Entrypoint;
    }
    // lib.optionalAttrs (impliedApp != null) { TASK_SERVER_APP = impliedApp; };
    passthru = {
      inherit config pinned;
      loadImages = import ./load-images.nix {
        inherit lib pkgs name;
        images = lib.attrValues pinned;
      };
    };
    meta.description = "The Kubernetes manifests of ${name}; `.loadImages` loads what they run";
  }
  ''
    task-server manifests kubernetes --output $out
  ''
