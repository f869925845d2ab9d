# docs/nixos-options.md: every option of `services.task-server`, from its declaration.
{
  lib,
  pkgs,
  self,
}:
let
  inherit
    (lib.evalModules {
      modules = [
        (lib.modules.importApply ./modules/options.nix { inherit self; })
        {
          _module = {
            args = { inherit pkgs; };
            # Nothing is configured here; the options are only named.
            check = false;
          };
        }
      ];
    })
    options
    ;

  visible = lib.filter (option: option.visible && !option.internal) (
    lib.optionAttrSetToDocList { inherit (options) services; }
  );

  value =
    label: shown:
    let
      text = lib.removeSuffix "\n" shown.text;
    in
    if shown._type == "literalMD" then
      "*${label}:* ${text}"
    else if lib.hasInfix "\n" text then
      "*${label}:*\n\n```nix\n${text}\n```"
    else
      "*${label}:* `${text}`";

  section =
    option:
    lib.concatStringsSep "\n\n" (
      [
        "## `${option.name}`"
        (lib.removeSuffix "\n" option.description)
        "*Type:* ${option.type}${lib.optionalString option.readOnly " (read only)"}"
      ]
      ++ lib.optional (option ? default) (value "Default" option.default)
      ++ lib.optional (option ? example) (value "Example" option.example)
    );
in
''
  # Options of `services.task-server`

  <!-- Written by `nix build .#optionsDoc && cp result docs/nixos-options.md`. -->

  ${lib.concatMapStringsSep "\n\n" section visible}
''
