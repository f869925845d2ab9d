# `nix flake check`, every check by name.
{
  self,
  inputs,
  # This repository, built.
  project,
}:
let
  inherit (project) lib pkgs;
  inherit (project.pkgs.stdenv.hostPlatform) system;
  tests = ../tests/nix;

  # What the checks read.
  source = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../flake.nix
      ../flake.lock
      ../pyproject.toml
      ../uv.lock
      ../README.md
      ../CHANGELOG.md
      ../CONTRIBUTING.md
      ../docs
      ../scripts
      ../.ci
      ../LICENSE
      ../deploy
      ../docs
      ../nix
      ../src
      ../templates
      ../tests
    ];
  };

  # A check is a command that says nothing and exits 0, in a copy of the source.
  check =
    name: tools: command:
    pkgs.runCommand "check-${name}" { nativeBuildInputs = tools; } ''
      cp -r --no-preserve=mode ${source} source
      cd source
      export HOME=$TMPDIR
      ${command}
      touch $out
    '';

  python = project.shell.testEnvironment;

  mkForeign =
    other:
    import (tests + "/foreign") {
      inherit lib system other;
      inherit (self.lib) mkTaskServer;
    };
  foreign = mkForeign { };

  cases = import (tests + "/cases.nix") {
    inherit
      lib
      foreign
      mkForeign
      project
      ;
    machine =
      module:
      inputs.nixpkgs.lib.nixosSystem {
        inherit system;
        modules = [
          self.nixosModules.default
          module
          {
            boot.isContainer = true;
            system.stateVersion = "26.05";
          }
        ];
      };
  };

  failures = lib.runTests cases;

  # Bytes that an image's tarball, compressed, may have.
  largest = 200 * 1024 * 1024;

  contents =
    image:
    check image.imageName [ pkgs.jq ] ''
      bash tests/nix/image-contents.sh ${image} deploy/image.json ${toString largest}
    '';

  # The reference project with a configuration, as its manifests are applied to k3s.
  docket = self.lib.mkTaskServer (
    import ../nix/self.nix { inherit lib self system; }
    // {
      settings = {
        app = "docket";
        kubernetes = {
          services = [ ];
          env_secrets = [ "docket" ];
          media_claim = "media";
        };
        workers = lib.genAttrs [ "prefork" "gevent" ] (_: {
          concurrency = 2;
          # The machine has two processors, and pods of the update beside the others.
          kubernetes.cpu = 0.1;
        });
      };
    }
  );

  # A file in tests/nix/vm is a test of one behaviour.
  machines = lib.mapAttrs' (
    file: _:
    lib.nameValuePair "vm-${lib.replaceStrings [ "_" ] [ "-" ] (lib.removeSuffix ".nix" file)}" (
      vm (tests + "/vm/${file}")
    )
  ) (lib.filterAttrs (file: _: lib.hasSuffix ".nix" file) (builtins.readDir (tests + "/vm")));

  vm =
    file:
    pkgs.testers.runNixOSTest {
      imports = [ file ];
      defaults.imports = [ self.nixosModules.default ];
      _module.args = {
        inherit (project) environment;
        inherit (docket) kubernetes;
      };
      globalTimeout = 900;
    };
in
{
  lint = check "lint" [ python ] ''
    ruff check
    ruff format --check
    mypy
  '';

  nix-lint =
    check "nix-lint"
      [
        pkgs.deadnix
        pkgs.statix
      ]
      ''
        deadnix --fail .
        statix check .
      '';

  format = check "format" [ pkgs.nixfmt ] ''
    find flake.nix nix templates tests -name '*.nix' -exec nixfmt --check {} +
  '';

  foreign = foreign.environment;
  inherit (project) shell;
}
// lib.optionalAttrs project.isLinux {
  # The environment starts, and finds what it is made of.
  environment = check "environment" [ project.environment ] ''
    task-server config check
    task-server worker gevent --app docket --print-argv
  '';

  pytest =
    check "pytest"
      [
        python
        pkgs.redis
        pkgs.postgresql
      ]
      ''
        export TASK_SERVER_REQUIRE=redis,postgres
        pytest
      '';

  options =
    if failures == [ ] then
      check "options" [ ] "true"
    else
      throw "evaluated otherwise than expected: ${lib.generators.toPretty { } failures}";

  # The copy in docs/ is of these options. How a type is called is nixpkgs' affair,
  # and may change with it.
  options-doc =
    let
      without = text: lib.filter (line: !(lib.hasPrefix "*Type:*" line)) (lib.splitString "\n" text);
      written = import ../nix/options-doc.nix { inherit lib pkgs self; };
    in
    if without written == without (lib.readFile ../docs/nixos-options.md) then
      check "options-doc" [ ] "true"
    else
      throw "docs/nixos-options.md is out of date: nix build .#optionsDoc && cp result docs/nixos-options.md";

  worker-image = contents project.images.workerImage;
  prefork-image = contents project.images.preforkWorkerImage;
  gevent-image = contents project.images.geventWorkerImage;
  flower-image = contents project.images.flowerImage;
  metrics-image = contents project.images.metricsImage;
  foreign-image = foreign.images.workerImage;
  # What `nix build .#stack` gives; the tests compare it with the images.
  inherit (project) stack kubernetes;
  # Of a project whose lock knows neither task-server nor what the manifests need.
  foreign-kubernetes = foreign.kubernetes;

}
// lib.optionalAttrs project.isLinux machines
