# The kernel kills a child of prefork for its memory; the worker goes on.
{
  name = "task-server-out-of-memory";
  nodes.machine = {
    imports = [ ./machine/errands.nix ];
    services.task-server.workers.prefork = {
      settings.concurrency = 2;
      memoryMax = "512M";
    };
  };
  testScript = builtins.readFile ./out_of_memory.py;
}
