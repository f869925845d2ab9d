# A configuration that is wrong, and a media folder that is not there.
{
  name = "task-server-mistake";
  nodes.machine = {
    imports = [ ./machine/errands.nix ];
    services.task-server.workers.prefork = { };
    specialisation = {
      # What the check at build time did not see.
      misspelt.configuration.services.task-server = {
        checkConfig = false;
        workers.prefork.settings.concurency = 3;
      };
      unmounted.configuration.services.task-server.mediaDir = "/sata";
    };
  };
  testScript = builtins.readFile ./mistake.py;
}
