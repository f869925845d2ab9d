# A stop lets running tasks end, for a time, and gives back the rest.
{
  name = "task-server-drain";
  nodes.machine = {
    imports = [ ./machine/errands.nix ];
    services.task-server.workers.prefork.settings = {
      concurrency = 1;
      drain_seconds = 20;
    };
  };
  testScript = builtins.readFile ./drain.py;
}
