# Every option of the module, as it is declared: name, description, and which of
# default and example it has. Just enough of nixpkgs' lib for the declarations.
let
  lib = {
    inherit (builtins) attrValues catAttrs;
    importJSON = file: builtins.fromJSON (builtins.readFile file);
    unique = list: list;
    mkOption = option: option // { _type = "option"; };
    mkEnableOption =
      what:
      lib.mkOption {
        type = { };
        default = false;
        example = true;
        description = "Whether to enable ${what}.";
      };
    literalExpression = text: text;
    literalMD = text: text;
    types = {
      # A type is known by the options that values of it have.
      submodule = module: {
        inner = if builtins.isFunction module then module (args "<name>") else module;
        below = [ ];
      };
      attrsOf = type: type // (if type ? inner then { below = [ "<name>" ]; } else { });
      bool = { };
      either = _: _: { };
      enum = _: { };
      ints.positive = { };
      listOf = _: { };
      nonEmptyListOf = _: { };
      nullOr = _: { };
      numbers.nonnegative = { };
      package = { };
      path = { };
      pathWith = _: { };
      port = { };
      str = { };
      strMatching = _: { };
    };
  };

  args = name: {
    inherit lib name;
    config = { };
    pkgs = {
      formats.toml = _: { type = { }; };
      stdenv.hostPlatform.system = "x86_64-linux";
    };
  };

  walk =
    path: value:
    if (value._type or null) == "option" then
      [
        {
          name = builtins.concatStringsSep "." path;
          inherit (value) description;
          has = builtins.intersectAttrs {
            type = null;
            default = null;
            example = null;
            readOnly = null;
          } (builtins.mapAttrs (_: _: true) value);
        }
      ]
      ++ walk (path ++ (value.type.below or [ ])) (value.type.inner.options or { })
    else
      builtins.concatMap (name: walk (path ++ [ name ]) value.${name}) (builtins.attrNames value);

  module = import ../../nix/modules/options.nix { self.packages.x86_64-linux = { }; } (args "machine");
in
walk [ ] module.options
