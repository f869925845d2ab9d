# The broker refuses the password that the worker has.
{
  name = "task-server-refused-password";
  nodes.machine = {
    imports = [ ./machine/errands.nix ];
    services = {
      redis.servers = {
        "" = {
          enable = true;
          requirePass = "the-right-one";
        };
        # The command that sends tasks names its socket; nothing uses it here.
        task-server.enable = true;
      };
      task-server = {
        credentials.broker_url = "/run/secrets/broker-url";
        workers.prefork = { };
      };
    };
    # In place of what puts secrets on a machine.
    systemd.tmpfiles.settings.secrets."/run/secrets/broker-url".f = {
      mode = "0400";
      argument = "redis://:the-wrong-one@127.0.0.1:6379/0";
    };
  };
  testScript = builtins.readFile ./refused_password.py;
}
