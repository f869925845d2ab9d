{
  description = "Run Celery for Django, reproducibly: environment, images, NixOS module, dev shell";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

    pyproject-nix = {
      url = "github:pyproject-nix/pyproject.nix";
      inputs.nixpkgs.follows = "nixpkgs";
    };

    uv2nix = {
      url = "github:pyproject-nix/uv2nix";
      inputs = {
        nixpkgs.follows = "nixpkgs";
        pyproject-nix.follows = "pyproject-nix";
      };
    };

    pyproject-build-systems = {
      url = "github:pyproject-nix/build-system-pkgs";
      inputs = {
        nixpkgs.follows = "nixpkgs";
        pyproject-nix.follows = "pyproject-nix";
        uv2nix.follows = "uv2nix";
      };
    };
  };

  outputs =
    { self, nixpkgs, ... }@inputs:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      forAllSystems = lib.genAttrs systems;
      # Our own reference project is built as a reader's project is.
      project = forAllSystems (
        system: self.lib.mkTaskServer (import ./nix/self.nix { inherit lib self system; })
      );
    in
    {
      lib = import ./nix/lib.nix { inherit inputs systems; };
      packages = forAllSystems (
        system:
        let
          inherit (project.${system}) pkgs;
        in
        project.${system}.packages
        // {
          optionsDoc = pkgs.writeText "nixos-options.md" (
            import ./nix/options-doc.nix { inherit lib pkgs self; }
          );
        }
      );
      apps = forAllSystems (system: project.${system}.apps);
      devShells = forAllSystems (system: project.${system}.devShells);
      nixosModules.default = lib.modules.importApply ./nix/modules { inherit lib self; };
      overlays.default = import ./nix/overlay.nix { inherit self; };
      templates.default = {
        path = ./templates/django;
        description = "A Django project with Celery workers: environment, images, NixOS machine, dev shell";
      };
      checks = forAllSystems (
        system:
        import ./nix/checks.nix {
          inherit self inputs;
          project = project.${system};
        }
      );
      formatter = forAllSystems (system: import ./nix/formatter.nix { project = project.${system}; });
    };
}
