{
  description = "A Django project with Celery workers";

  inputs.task-server.url = "github:freelawproject/task-server";

  # nix build .#workerImage     an image with the code; docker load < result
  # nix develop                 then: task-server up
  # nixosModules.default        services.task-server, with these packages
  outputs =
    { self, task-server, ... }:
    let
      project = task-server.lib.mkFlake {
        workspaceRoot = ./.;
        app = "library";
        # In the images; without it they expect the code at /opt/celery.
        code = ./.;
        revision = self.rev or "dirty";
        created = self.lastModifiedDate or "19700101000001";
        # What tasks call beside Python: pkgs: [ pkgs.poppler-utils ]
        programs = _pkgs: [ ];
      };
    in
    project
    // {
      # A machine that runs everything: broker, database, workers, Flower.
      nixosConfigurations.library = task-server.inputs.nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          project.nixosModules.default
          ./machine.nix
        ];
      };
    };
}
