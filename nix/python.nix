# uv.lock -> Python packages, by uv2nix: the very files that uv installs, by
# the same hashes. Here are the few packages that need a hand, each with its
# reason.
{
  lib,
  inputs,
  pkgs,
}:
{
  workspaceRoot,
  python,
  sourcePreference,
  buildSystems,
  overrides,
}:
let
  workspace = inputs.uv2nix.lib.workspace.loadWorkspace { inherit workspaceRoot; };

  locked = workspace.mkPyprojectOverlay { inherit sourcePreference; };

  # psycopg2 has no wheel for Linux, and the wheel of psycopg2-binary carries
  # a libpq, an OpenSSL and a Kerberos of its own that nobody updates. Both are
  # built from their source against the libpq of nixpkgs.
  againstLibpq =
    final: package:
    package.overrideAttrs (old: {
      nativeBuildInputs =
        (old.nativeBuildInputs or [ ])
        ++ final.resolveBuildSystem { setuptools = [ ]; }
        # Since nixpkgs 25.05 the program pg_config is a package of its own.
        ++ [ (pkgs.libpq.pg_config or pkgs.libpq) ];
      buildInputs =
        (old.buildInputs or [ ])
        ++ [ pkgs.libpq ]
        # Its setup.py links OpenSSL on a Mac, which libpq does not pass on.
        ++ lib.optional pkgs.stdenv.hostPlatform.isDarwin pkgs.openssl;
    });

  psycopg2 =
    final: prev:
    lib.optionalAttrs (prev ? psycopg2) { psycopg2 = againstLibpq final prev.psycopg2; }
    // lib.optionalAttrs (prev ? psycopg2-binary) {
      psycopg2-binary = againstLibpq final (
        prev.psycopg2-binary.override { sourcePreference = "sdist"; }
      );
    };

  # uv.lock does not say what a source distribution is built with.
  built =
    final: prev:
    lib.mapAttrs (
      name: systems:
      (prev.${name} or (throw "buildSystems.${name}: uv.lock has no package of that name")).overrideAttrs
        (old: {
          nativeBuildInputs =
            (old.nativeBuildInputs or [ ]) ++ final.resolveBuildSystem (lib.genAttrs systems (_: [ ]));
        })
    ) buildSystems;
in
{
  inherit workspace;

  # Everything that uv.lock has, without the base that it stands on.
  overlay = lib.composeManyExtensions [
    locked
    psycopg2
    built
    overrides
  ];

  # The base: the hooks that build packages, and the build systems, which
  # uv.lock does not pin (setuptools, hatchling and so on).
  base =
    (pkgs.callPackage inputs.pyproject-nix.build.packages { inherit python; }).overrideScope
      inputs.pyproject-build-systems.overlays.wheel;
}
