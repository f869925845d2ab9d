# What other flakes call: `mkTaskServer`, and `mkFlake` for a flake that has
# nothing else.
{ inputs, systems }:
let
  inherit (inputs.nixpkgs) lib;

  reference = pkgs: python: {
    inherit
      (import ./self.nix {
        inherit lib;
        inherit (inputs) self;
        system = pkgs.stdenv.hostPlatform.system;
      })
      workspaceRoot
      overrides
      ;
    inherit python;
    sourcePreference = "wheel";
    buildSystems = { };
  };
in
rec {
  /**
    Build everything that this flake has, for a Django project of your own,
    from its own uv.lock.

    Where that lock has task-server, that one is used. Where it does not, ours
    is laid over the project's packages and adds only those that are missing;
    what the project has locked stays as it is.

    # Arguments

    `workspaceRoot`: folder with `pyproject.toml` and `uv.lock`, as a path.

    `app`: the project's Celery app, as `celery --app` takes it.

    `impliedApp`: the app of images, of `nix run .#up` and of the shell where
    TASK_SERVER_APP is not set; default, `app`. null: they find it in the code.

    `pkgs` or `system`: the nixpkgs to build with; `system` takes ours.

    `name`: prefix of the names of environments and images; default, the
    project's name in `pyproject.toml`.

    `python`: interpreter; default `pkgs.python313`.

    `extras`, `groups`: optional dependencies and dependency groups that the
    environment has beside the project's dependencies, by name.

    `developmentGroups`: groups that only the development shell has.

    `programs`: packages whose programs tasks call (poppler-utils, tesseract):
    in the images, in the units and in the shell. A list, or a function from
    `pkgs` to one.

    `buildSystems`: what a package without a wheel is built with, by name:
    `{ courts-db = [ "setuptools" ]; }`. A name that uv.lock does not have is an
    error.

    `overrides`: overlay over the Python packages, for what `buildSystems`
    does not say (native libraries, patches). `final.pkgs` is nixpkgs.

    `sourcePreference`: `"wheel"` or `"sdist"`.

    `code`: folder with the project's code that is put into the images, and the
    default of `services.task-server.code`; null where the code is mounted at
    /opt/celery.

    `settings`: defaults of `services.task-server.settings` in the module, and of the
    Kubernetes manifests, where `task-server.toml` in `workspaceRoot` says nothing else.

    `variables`: more environment variables of the images.

    `version`, `revision`, `created`, `tag`: what the images say of themselves.

    # Returns

    `packages`, `apps`, `devShells`, `nixosModule`, and the parts they are made
    of: `environment`, `flowerEnvironment`, `metricsEnvironment`, `images`,
    `stack`, `kubernetes`, `pythonSet`, `workspace`.
  */
  mkTaskServer =
    {
      workspaceRoot,
      app,
      impliedApp ? app,
      system ? throw "mkTaskServer: pass `pkgs`, or `system` for the nixpkgs of task-server",
      pkgs ? inputs.nixpkgs.legacyPackages.${system},
      name ? pyproject.project.name or "task-server",
      version ? pyproject.project.version or "0",
      tag ? version,
      revision ? "unknown",
      created ? "19700101000001",
      python ? pkgs.python313,
      extras ? [ ],
      groups ? [ ],
      developmentGroups ? [ ],
      programs ? [ ],
      buildSystems ? { },
      overrides ? _final: _prev: { },
      sourcePreference ? "wheel",
      code ? null,
      settings ? { },
      variables ? { },
      # Read from the workspace; named here so that the defaults above see it.
      pyproject ? lib.importTOML (workspaceRoot + "/pyproject.toml"),
    }@arguments:
    let
      # From the name, where there is one: which outputs a flake has can then
      # be known for each system without its package set.
      isLinux = lib.hasSuffix "-linux" (arguments.system or pkgs.stdenv.hostPlatform.system);

      load = import ./python.nix { inherit lib inputs pkgs; };

      locked = load {
        inherit
          workspaceRoot
          python
          sourcePreference
          buildSystems
          overrides
          ;
      };
      inherit (locked) workspace;

      projectSet = locked.base.overrideScope locked.overlay;
      hasTaskServer = projectSet ? task-server;
      layOver = import ./python-overlay.nix {
        inherit lib;
        ours = (load (reference pkgs python)).overlay;
      };
      pythonSet = projectSet.overrideScope layOver;

      # The names that uv.lock has under an extra or a group of some member.
      known = lib.unique (lib.concatLists (lib.attrValues workspace.deps.all));
      chosen =
        wanted:
        let
          unknown = lib.subtractLists known wanted;
        in
        lib.throwIfNot (unknown == [ ])
          "mkTaskServer: uv.lock has no extra or group ${lib.concatStringsSep ", " unknown}; it has ${lib.concatStringsSep ", " known}"
          (
            lib.mapAttrs (
              member: default: lib.unique (default ++ lib.intersectLists wanted workspace.deps.all.${member})
            ) workspace.deps.default
          );
      dependencies = wanted: chosen (extras ++ groups ++ wanted) // ours;
      ours = lib.optionalAttrs (!hasTaskServer) { task-server = [ ]; };

      withMeta =
        description: environment:
        environment.overrideAttrs (old: {
          meta = (old.meta or { }) // {
            inherit description;
            mainProgram = "task-server";
          };
        });

      environment = withMeta "The locked Python packages of ${name}, with task-server" (
        pythonSet.mkVirtualEnv "${name}-env" (dependencies [ ])
      );

      # By service. Flower brings a web server that no worker needs. It loads the
      # project's Celery app, so the project's packages are there as well.
      environments = {
        worker = environment;
      }
      // lib.mapAttrs (
        service: row:
        withMeta "The locked Python packages of ${name}, with ${row.title}" (
          pythonSet.mkVirtualEnv "${name}-${service}-env" (
            dependencies [ ] // { ${row.package or row.extra} = [ ]; }
          )
        )
      ) (lib.filterAttrs (_: row: row ? extra) (import ./services.nix).others);
      serviceEnvironments = lib.mapAttrs' (
        service: lib.nameValuePair "${service}Environment"
      ) (removeAttrs environments [ "worker" ]);

      programList = if lib.isFunction programs then programs pkgs else programs;

      images = import ./images.nix {
        inherit
          lib
          pkgs
          name
          version
          tag
          revision
          created
          impliedApp
          environments
          code
          variables
          ;
        programs = programList;
      };

      stack = import ./stack.nix {
        inherit
          lib
          pkgs
          name
          impliedApp
          code
          images
          ;
      };

      kubernetes = import ./kubernetes.nix {
        inherit
          lib
          pkgs
          name
          impliedApp
          workspaceRoot
          settings
          images
          ;
        environment = withMeta "The locked Python packages of ${name}, with the manifests" (
          pythonSet.mkVirtualEnv "${name}-manifests-env" (dependencies [ ] // { pyyaml = [ ]; })
        );
      };

      shell = import ./shell.nix {
        inherit
          lib
          pkgs
          name
          impliedApp
          workspace
          workspaceRoot
          pythonSet
          ;
        dependencies = dependencies developmentGroups;
        programs = programList;
      };

      parts = {
        inherit
          lib
          pkgs
          name
          app
          code
          impliedApp
          settings
          workspace
          pythonSet
          hasTaskServer
          environment
          images
          stack
          kubernetes
          shell
          isLinux
          ;
        programs = programList;
      }
      // serviceEnvironments;
    in
    parts
    // {
      packages = {
        default = environment;
        inherit environment;
      }
      // lib.optionalAttrs isLinux (serviceEnvironments // { inherit stack kubernetes; } // images);
      devShells.default = shell;
      apps = import ./apps.nix parts;
      nixosModule = lib.modules.importApply ./modules/project.nix {
        inherit lib;
        inherit (inputs) self;
        project = parts;
      };
    };

  /**
    The outputs of a flake that is nothing but a task server: `mkTaskServer` for
    each system, and `nixosModules.default` with its packages as defaults.

    # Arguments

    Those of `mkTaskServer` but `pkgs` and `system`; and `systems`.
  */
  mkFlake =
    arguments:
    let
      perSystem = lib.genAttrs (arguments.systems or systems) (
        system: mkTaskServer (removeAttrs arguments [ "systems" ] // { inherit system; })
      );
      each = output: lib.mapAttrs (_: project: project.${output}) perSystem;
    in
    {
      packages = each "packages";
      apps = each "apps";
      devShells = each "devShells";
      nixosModules.default = lib.modules.importApply ./modules/project.nix {
        inherit lib;
        inherit (inputs) self;
        inherit perSystem;
      };
    };
}
