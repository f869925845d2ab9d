# A new configuration restarts the workers that it changes, and no other.
{
  name = "task-server-switch";
  nodes.machine = {
    imports = [ ./machine/errands.nix ];
    services.task-server.workers = {
      prefork.settings.concurrency = 1;
      gevent = { };
      lasting = {
        settings.queues = [ "lasting" ];
        restartIfChanged = false;
      };
    };
    specialisation.other.configuration.services.task-server.workers = {
      prefork.settings.prefetch_multiplier = 2;
      lasting.settings.prefetch_multiplier = 2;
    };
  };
  testScript = builtins.readFile ./switch.py;
}
