# A task that kills its child each time it runs.
{
  name = "task-server-poison";
  nodes.machine = {
    imports = [ ./machine/errands.nix ];
    services.task-server.workers.prefork.settings = {
      concurrency = 1;
      poison_limit = 2;
    };
  };
  testScript = builtins.readFile ./poison.py;
}
