# Redis is restarted while jobs are on their way.
{
  name = "task-server-redis-restart";
  nodes.machine = ./machine/docket.nix;
  testScript = builtins.readFile ./redis_restart.py;
}
