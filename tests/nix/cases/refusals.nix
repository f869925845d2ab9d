# What the module refuses, and with which words.
{
  lib,
  machine,
  evaluated,
  worker,
  refusals,
  fails,
  remote,
  ...
}:
{
  testASoundConfigurationIsNotRefused = {
    expr = refusals {
      database.createLocally = true;
      flower.enable = true;
      workers.bulk.settings.prefetch_multiplier = 5;
    };
    expected = [ ];
  };

  testAMachineIsForNoProjectUntilItIsNamed = {
    expr = fails (machine { services.task-server.enable = true; }).config.services.task-server.app;
    expected = true;
  };

  testADrainLongerThanTheStopTimeoutIsRefused = {
    expr = map (lib.hasInfix "drain_seconds (100) is not below stopTimeout (50)") (refusals {
      workers.one = {
        settings.drain_seconds = 100;
        stopTimeout = 50;
      };
    });
    expected = [ true ];
  };

  testTwoWorkersOfOneNodeNameAreRefused = {
    expr = map (lib.hasInfix "2 workers would have the node name bulk-1@") (refusals {
      workers.bulk.instances = 2;
      workers.bulk-1 = { };
    });
    expected = [ true ];
  };

  testAWorkerCalledAsAnotherUnitIsRefused = {
    expr = map (lib.hasInfix "task-server-flower.service is another unit") (refusals {
      workers.flower = { };
    });
    expected = [ true ];
  };

  testAPrivateNetworkWithARemoteBrokerIsRefused = {
    expr = map (lib.hasInfix "the broker is not on a Unix socket") (
      refusals (remote // { workers.one.privateNetwork = true; })
    );
    expected = [ true ];
  };

  testAPasswordInTheSettingsIsRefused = {
    expr = map (lib.hasInfix "everybody could read in the Nix store") (refusals {
      settings.broker_url = "redis://:hunter2@db/0";
    });
    expected = [ true ];
  };

  testAPasswordInTheEnvironmentIsRefused = {
    expr = map (lib.hasInfix "environment.DATABASE_URL has a password") (refusals {
      environment.DATABASE_URL = "postgres://cl:hunter2@db/cl";
    });
    expected = [ true ];
  };

  testTwoBrokersAreRefused = {
    expr = map (lib.hasInfix "redis.createLocally makes a broker here") (
      refusals (remote // { redis.createLocally = true; })
    );
    expected = [ true ];
  };

  testAUserThatIsNotDeclaredIsRefused = {
    expr = map (lib.hasInfix "there is no user lynx") (refusals {
      user = "lynx";
    });
    expected = [ true ];
  };

  testAGroupThatIsNotDeclaredIsRefused = {
    expr = map (lib.hasInfix "there is no group lynx") (refusals {
      group = "lynx";
    });
    expected = [ true ];
  };

  testAnUnknownOptionOfAWorkerIsAnError = {
    expr = fails (worker { memoryMx = "4G"; }).serviceConfig;
    expected = true;
  };

  testAnUnknownPoolIsAnError = {
    expr = fails (worker { settings.pool = "threads"; }).serviceConfig.ExecStart;
    expected = true;
  };

  testASecretInTheStoreIsAnError = {
    expr =
      fails
        (evaluated { credentials.broker_url = "${../cases.nix}"; }).services.task-server.credentials;
    expected = true;
  };

  testASecretAsAPathLiteralIsAnError = {
    expr =
      fails
        (evaluated { credentials.broker_url = ../cases.nix; }).services.task-server.credentials;
    expected = true;
  };
}
