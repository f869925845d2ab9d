# The database comes up after the machine that migrates it.
{ lib, ... }:
{
  name = "task-server-migrations-retry";
  nodes.machine = {
    imports = [ ./machine/errands.nix ];
    services = {
      postgresql = {
        enable = true;
        authentication = lib.mkForce "local all all trust\nhost errands errands 127.0.0.1/32 trust";
        ensureDatabases = [ "errands" ];
        ensureUsers = [
          {
            name = "errands";
            ensureDBOwnership = true;
          }
        ];
      };
      task-server = {
        environment.DATABASE_URL = "postgres://errands@127.0.0.1/errands";
        migrations.enable = true;
        workers.prefork = { };
      };
    };
    # Not at the start of the machine, but when the test asks for it.
    systemd.targets.postgresql.wantedBy = lib.mkForce [ ];
  };
  testScript = builtins.readFile ./migrations_retry.py;
}
