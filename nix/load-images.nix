# A program that pipes images into docker, or into the program that is named:
# load-images podman
{
  lib,
  pkgs,
  name,
  images,
}:
pkgs.writeShellApplication {
  name = "${name}-load-images";
  text = ''
    into="''${1:-docker}"
    ${lib.concatMapStrings (image: ''
      ${image.stream} | "$into" load
    '') images}
  '';
}
