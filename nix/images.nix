# The OCI images. Their configuration (entry point, user, environment,
# health check, labels) stands in deploy/image.json, which the images that CI
# builds without Nix read as well; here is only how the files get there.
{
  lib,
  pkgs,
  # Prefix of the images' names.
  name,
  version,
  tag,
  revision,
  # When the source was committed, as Nix has it: YYYYMMDDhhmmss.
  created,
  # The project's Celery app, or null: the one that is found in the code.
  impliedApp,
  # The virtual environments, by service: of the workers, and of those that need
  # more packages.
  environments,
  # Packages whose programs tasks call.
  programs,
  # A folder that is put where the code is otherwise mounted, or null.
  code,
  # More variables.
  variables,
}:
let
  description = lib.importJSON ../deploy/image.json;
  inherit (description) user;

  timestamp =
    let
      part = lib.substring;
    in
    "${part 0 4 created}-${part 4 2 created}-${part 6 2 created}"
    + "T${part 8 2 created}:${part 10 2 created}:${part 12 2 created}Z";

  names = pkgs.dockerTools.fakeNss.override {
    extraPasswdLines = [
      (lib.concatStringsSep ":" [
        user.name
        "x"
        (toString user.uid)
        (toString user.gid)
        user.description
        user.home
        user.shell
      ])
    ];
    extraGroupLines = [ "${user.group}:x:${toString user.gid}:" ];
  };

  # Compiled once and not at every start, since workers cannot write beside the
  # code. A file that does not compile (a template, say) is left as it is. Python
  # compares hashes, so a file that a derived image replaces is the one that runs.
  compiledCode = pkgs.runCommand "${name}-code" { } ''
    cp -r ${code} $out
    chmod -R u+w $out
    PYTHONHASHSEED=0 ${environments.worker}/bin/python -m compileall -q \
      --invalidation-mode checked-hash -s $out -p ${description.config.WorkingDir} $out || true
  '';

  # Links from the places that image.json names to the store.
  places =
    environment:
    pkgs.runCommand "${name}-places" { } ''
      mkdir -p $out$(dirname ${description.environment}) $out/usr/bin $out/usr/share
      ln -s ${environment} $out${description.environment}
      ln -s ${lib.getExe pkgs.catatonit} $out${description.init}
      ln -s ${pkgs.tzdata}/share/zoneinfo $out/usr/share/zoneinfo
    '';

  folders = lib.concatLines (
    lib.mapAttrsToList (
      path: folder:
      "install -d -m ${folder.mode}"
      + lib.optionalString (folder.owner == "user") " -o ${toString user.uid} -g ${toString user.gid}"
      + " .${path}"
    ) description.folders
  );

  # A shell and coreutils, to inspect a container.
  tools = [
    pkgs.dockerTools.binSh
    pkgs.bashInteractive
    pkgs.coreutils
  ];

  arguments =
    kind: environment: extra: tag:
    let
      image = description.images.${kind};
    in
    {
      name = "${name}-${kind}";
      inherit tag;
      # The store's layers keep the date of 1970, so that a new commit does
      # not make every layer a new one.
      created = timestamp;
      # Docker's limit is 127, and images built on this one need some.
      # Each path of the store is a layer as long as these suffice.
      maxLayers = 120;
      contents = [
        names
        pkgs.dockerTools.caCertificates
        (places environment)
      ]
      ++ programs
      ++ extra;
      # The folder is a relative one: these commands run in the new root.
      fakeRootCommands =
        folders
        + lib.optionalString (code != null) ''
          cp -r ${compiledCode}/. .${description.config.WorkingDir}/
        '';
      config =
        removeAttrs description.config [
          "Env"
          "Labels"
        ]
        // {
          inherit (image) Cmd Healthcheck;
          Env = lib.mapAttrsToList (variable: value: "${variable}=${value}") (
            description.config.Env
            // lib.optionalAttrs (impliedApp != null) { TASK_SERVER_APP = impliedApp; }
            // (image.Env or { })
            // variables
          );
          ExposedPorts = lib.genAttrs (image.ExposedPorts or [ ]) (_: { });
          Labels = description.config.Labels // {
            "org.opencontainers.image.title" = image.title;
            "org.opencontainers.image.version" = version;
            "org.opencontainers.image.revision" = revision;
            "org.opencontainers.image.created" = timestamp;
          };
        };
    };

  build =
    kind: environment: extra: tag:
    let
      # A tarball, since `docker load < result` is what people type; its
      # `stream` is the script that writes one, for pipes.
      image = pkgs.dockerTools.buildLayeredImage (arguments kind environment extra tag);
    in
    lib.extendDerivation true {
      # What the image is made of, for the checks and for images that extend it.
      arguments = arguments kind environment extra tag;
      meta = (image.meta or { }) // {
        description = description.images.${kind}.title;
      };
    } image;

  variants =
    kind: environment:
    lib.extendDerivation true {
      debug = build kind environment tools tag;
      # Without a tag of its own, an image is called by its hash.
      pinned = build kind environment [ ] null;
    } (build kind environment [ ] tag);

  # workerImage, preforkWorkerImage, flowerImage: what is called as its service
  # has no other name.
  nameOf =
    kind: service:
    if service == "worker" && kind != service then "${kind}WorkerImage" else "${kind}Image";
in
lib.mapAttrs' (
  kind: image:
  let
    service = lib.head image.Cmd;
  in
  lib.nameValuePair (nameOf kind service) (
    variants kind (environments.${service} or environments.worker)
  )
) description.images
