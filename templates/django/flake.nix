{
  description = "A Django project with Celery workers";

  inputs.task-server.url = "github:freelawproject/task-server";

  # nix build .#workerImage     an image with the code; docker load < result
  # nix develop                 then: task-server up
  # nixosModules.default        services.task-server, with these packages
  outputs =
    { self, task-server, ... }:
    let
      inherit (task-server.inputs.nixpkgs) lib;

      project = task-server.lib.mkFlake {
        workspaceRoot = ./.;
        app = "library";
        # What workers import, and no more: it is in the images, and on the machine.
        # Without it they expect the code at /opt/celery.
        code = lib.fileset.toSource {
          root = ./.;
          fileset = lib.fileset.unions [
            ./library
            ./manage.py
          ];
        };
        revision = self.rev or "dirty";
        created = self.lastModifiedDate or "19700101000001";
        # What tasks call beside Python: pkgs: [ pkgs.poppler-utils ]
        programs = _pkgs: [ ];
      };
    in
    project
    // {
      # A machine that runs everything: broker, database, workers, Flower.
      nixosConfigurations.library = lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          project.nixosModules.default
          ./machine.nix
        ];
      };
    };
}
