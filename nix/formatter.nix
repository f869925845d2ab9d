# `nix fmt`: Nix by nixfmt, Python by the ruff that uv.lock names, so that the
# shell, CI and this agree.
{ project }:
let
  inherit (project) pkgs shell;
  script = pkgs.writeShellApplication {
    name = "format";
    runtimeInputs = [
      pkgs.nixfmt
      pkgs.findutils
      shell.environment
    ];
    text = ''
      if [ "$#" -eq 0 ]; then
        set -- .
      fi
      find "$@" -name '*.nix' -not -path '*/.*' -exec nixfmt {} +
      ruff format --quiet "$@"
      ruff check --fix --quiet "$@"
    '';
  };
in
script
// {
  meta = (script.meta or { }) // {
    description = "Formats Nix and Python";
    mainProgram = "format";
  };
}
