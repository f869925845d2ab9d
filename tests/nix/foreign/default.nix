# A foreign project through `mkTaskServer`, as its own flake would have it.
{
  mkTaskServer,
  system,
  # Arguments that differ.
  other ? { },
  ...
}:
mkTaskServer (
  {
    inherit system;
    workspaceRoot = ./.;
    app = "parish";
    groups = [ "ocr" ];
    developmentGroups = [ "dev" ];
    buildSystems.docopt = [ "setuptools" ];
    programs = pkgs: [ pkgs.ghostscript ];
    settings.visibility_timeout = 7200;
  }
  // other
)
