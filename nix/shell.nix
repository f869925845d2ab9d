# `nix develop`: the locked packages with the project itself editable, and the
# servers that `task-server up` starts.
{
  lib,
  pkgs,
  name,
  impliedApp,
  workspace,
  workspaceRoot,
  pythonSet,
  # What the environment is made of, development groups included.
  dependencies,
  programs,
}:
let
  editable = workspace.mkEditablePyprojectOverlay {
    # The checkout, not its copy in the store.
    root = "$REPO_ROOT";
  };

  # The folder of the workspace below the top of the checkout, empty where it is that.
  subfolder =
    let
      inStore = builtins.match "${builtins.storeDir}/[^/]+(/.*)?" (toString workspaceRoot);
    in
    if inStore == null || inStore == [ null ] then "" else lib.head inStore;

  # Hatchling needs `editables` to build an editable package, and asks for it
  # only then; build systems that do not need it are not hurt.
  withEditables =
    final: prev:
    lib.mapAttrs (
      _: package:
      package.overrideAttrs (old: {
        nativeBuildInputs = (old.nativeBuildInputs or [ ]) ++ final.resolveBuildSystem { editables = [ ]; };
      })
    ) (editable final prev);

  environment = (pythonSet.overrideScope withEditables).mkVirtualEnv "${name}-dev-env" dependencies;

  # The same, not editable: what the tests run in when nothing may change.
  testEnvironment = pythonSet.mkVirtualEnv "${name}-test-env" dependencies;
in
pkgs.mkShell {
  inherit name;
  packages = [
    environment
    pkgs.uv
    pkgs.redis
    pkgs.postgresql
    pkgs.nixfmt
  ]
  ++ programs;

  # uv runs what the shell has; it neither installs nor downloads.
  UV_NO_SYNC = "1";
  UV_PYTHON = "${environment}/bin/python";
  UV_PYTHON_DOWNLOADS = "never";
  UV_PROJECT_ENVIRONMENT = environment;
  # An attribute whose name is null is none.
  ${if impliedApp == null then null else "TASK_SERVER_APP"} = impliedApp;

  shellHook = ''
    # Packages of another shell would win over the locked ones.
    unset PYTHONPATH
    workspace_subfolder=${lib.escapeShellArg subfolder}
    ${lib.readFile ./repo-root.sh}
    cat <<'COMMANDS'

      task-server up              Redis, PostgreSQL, both workers and Flower
      task-server worker gevent   one worker in the foreground
      task-server config show     every setting, its value, and its origin
      pytest                      the tests

    COMMANDS
  '';

  passthru = { inherit environment testEnvironment; };
}
