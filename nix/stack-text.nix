# deploy/swarm/stack.yml for one project: its images, its Celery app, and no
# mount of the code where the images have it. It needs no nixpkgs, so that the
# tests can read the result wherever there is a Nix.
{
  # Names of images in stack.yml, and what takes the place of each.
  images ? { },
  # The project's Celery app; null keeps the default of stack.yml.
  app ? null,
  codeInImage ? false,
}:
let
  text = builtins.readFile ../deploy/swarm/stack.yml;

  codeMount = ''
    ${"    "}- &code
    ${"    "}  type: bind
    ${"    "}  source: ''${CL_CODE_DIR:?set it to the folder of the project's code on every node}
    ${"    "}  target: /opt/celery
    ${"    "}  read_only: true
  '';

  changes =
    images
    // (if app == null then { } else { "\${TASK_SERVER_APP:-cl}" = "\${TASK_SERVER_APP:-${app}}"; })
    // (
      if codeInImage then
        {
          ${codeMount} = "";
          "      - *code\n" = "";
          "#   CL_CODE_DIR=/opt/courtlistener/cl \\\n" = "";
        }
      else
        { }
    );

  # A change of stack.yml that this file does not know is an error, not a stack
  # that deploys something else.
  present =
    old:
    if builtins.replaceStrings [ old ] [ "" ] text == text then
      throw "deploy/swarm/stack.yml no longer has: ${old}"
    else
      old;
in
builtins.replaceStrings (map present (builtins.attrNames changes)) (builtins.attrValues changes) text
