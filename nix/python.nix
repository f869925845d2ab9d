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
  named = lib.catAttrs "name" (lib.importTOML (workspaceRoot + "/uv.lock")).package;

  locked = workspace.mkPyprojectOverlay { inherit sourcePreference; };

  # psycopg2 and psycopg-c have no wheel for Linux, and the wheel of psycopg2-binary
  # carries a libpq, an OpenSSL and a Kerberos of its own that no update reaches.
  # All are built from their source against the libpq of nixpkgs.
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

  # psycopg 3 without its extra `binary` or `c` opens libpq by its name, which the
  # loader finds on no Nix system: it is given the path.
  withLibpq =
    package:
    package.overrideAttrs (old: {
      postInstall = (old.postInstall or "") + ''
        finds=$out/${python.sitePackages}/psycopg/pq
        substituteInPlace $finds/misc.py \
          --replace-fail 'ctypes.util.find_library("${libpq.asked}")' '"${libpq.path}"'
        # Compiled before the change.
        rm -f $finds/__pycache__/misc.*
      '';
    });

  libpq =
    let
      extension = pkgs.stdenv.hostPlatform.extensions.sharedLibrary;
    in
    {
      asked = if pkgs.stdenv.hostPlatform.isDarwin then "libpq.dylib" else "pq";
      path = "${lib.getLib pkgs.libpq}/lib/libpq${extension}";
    };

  postgresql =
    final: prev:
    lib.optionalAttrs (prev ? psycopg) { psycopg = withLibpq prev.psycopg; }
    // lib.optionalAttrs (prev ? psycopg-c) { psycopg-c = againstLibpq final prev.psycopg-c; }
    // lib.optionalAttrs (prev ? psycopg2) { psycopg2 = againstLibpq final prev.psycopg2; }
    // lib.optionalAttrs (prev ? psycopg2-binary) {
      psycopg2-binary = againstLibpq final (
        prev.psycopg2-binary.override { sourcePreference = "sdist"; }
      );
    };

  # uv.lock does not say what a source distribution is built with.
  # A package that the lock has for another platform only is skipped.
  built =
    final: prev:
    lib.throwIfNot (unknown == [ ])
      "mkTaskServer: buildSystems names ${lib.concatStringsSep ", " unknown}, and uv.lock has no package of that name"
      (
        lib.mapAttrs (
          name: systems:
          prev.${name}.overrideAttrs (old: {
            nativeBuildInputs =
              (old.nativeBuildInputs or [ ]) ++ final.resolveBuildSystem (lib.genAttrs systems (_: [ ]));
          })
        ) (lib.filterAttrs (name: _: prev ? ${name}) buildSystems)
      );
  unknown = lib.subtractLists named (lib.attrNames buildSystems);
in
{
  inherit workspace;

  # Everything that uv.lock has, without the base that it stands on.
  overlay = lib.composeManyExtensions [
    locked
    postgresql
    built
    overrides
  ];

  # The base: the hooks that build packages, and the build systems, which
  # uv.lock does not pin (setuptools, hatchling and so on).
  base =
    (pkgs.callPackage inputs.pyproject-nix.build.packages { inherit python; }).overrideScope
      inputs.pyproject-build-systems.overlays.wheel;
}
