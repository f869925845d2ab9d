# A worker whose loop stands still is ended by systemd and started again.
{
  name = "task-server-watchdog";
  nodes.machine = {
    imports = [ ./machine/errands.nix ];
    services.task-server.workers.gevent = { };
  };
  testScript = builtins.readFile ./watchdog.py;
}
