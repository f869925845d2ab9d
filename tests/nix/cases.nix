# Options and units as they evaluate: `{ expr; expected; }`, for lib.runTests.
{
  lib,
  # The NixOS of a module: module -> { config, … }.
  machine,
  # A project whose lock does not know task-server.
  foreign,
  # This repository as a project.
  project,
}:
let
  evaluated =
    settings:
    (machine {
      services.task-server = {
        enable = true;
      }
      // settings;
    }).config;
  services = settings: (evaluated settings).systemd.services;
  worker = settings: (services { workers.one = settings; }).task-server-one;
  refusals =
    settings:
    map (one: one.message) (
      lib.filter (
        one: !one.assertion && lib.hasPrefix "services.task-server" one.message
      ) (evaluated settings).assertions
    );
  # Whether evaluating it ends in an error.
  fails = value: !(builtins.tryEval (builtins.deepSeq value value)).success;

  local = services {
    database.createLocally = true;
    flower.enable = true;
    credentials.flower_basic_auth = "/run/secrets/flower";
    settingsFiles."11-private.py" = "/run/secrets/11-private.py";
  };
  prefork = local.task-server-prefork;

  remote = {
    user = "www-data";
    group = "www-data";
    credentials.broker_url = "/run/secrets/broker";
  };
in
{
  testTheDefaultWorkersRun = {
    expr = lib.filter (lib.hasPrefix "task-server-") (lib.attrNames (services { }));
    expected = [
      "task-server-gevent"
      "task-server-prefork"
    ];
  };

  testAWorkerIsStartedByName = {
    expr = lib.hasSuffix ''/bin/task-server" "worker" "prefork"'' prefork.serviceConfig.ExecStart;
    expected = true;
  };

  testInstancesAreUnitsOfTheirOwn = {
    expr = lib.filter (lib.hasPrefix "task-server-") (
      lib.attrNames (services {
        workers.bulk.instances = 3;
      })
    );
    expected = [
      "task-server-bulk-1"
      "task-server-bulk-2"
      "task-server-bulk-3"
    ];
  };

  testADisabledWorkerHasNoUnit = {
    expr = (services { workers.one.enable = false; }) ? task-server-one;
    expected = false;
  };

  testSystemdWaitsForTheWorkerAndWatchesIt = {
    expr = {
      inherit (prefork.serviceConfig)
        Type
        NotifyAccess
        WatchdogSec
        KillMode
        Restart
        RestartPreventExitStatus
        ;
      inherit (prefork) stopIfChanged restartIfChanged;
    };
    expected = {
      Type = "notify";
      NotifyAccess = "main";
      WatchdogSec = 60;
      KillMode = "mixed";
      Restart = "always";
      RestartPreventExitStatus = 78;
      stopIfChanged = false;
      restartIfChanged = true;
    };
  };

  testTheStopTimeoutIsAboveTheDrain = {
    expr = (worker { drain_seconds = 600; }).serviceConfig.TimeoutStopSec;
    expected = 630;
  };

  testTheStopTimeoutIsHonoured = {
    expr = (worker { stopTimeout = 900; }).serviceConfig.TimeoutStopSec;
    expected = 900;
  };

  testLimitsAreSystemds = {
    expr =
      let
        unit = worker {
          memoryMax = "4G";
          cpuQuota = "400%";
        };
      in
      {
        inherit (unit.serviceConfig) MemoryMax CPUQuota;
      };
    expected = {
      MemoryMax = "4G";
      CPUQuota = "400%";
    };
  };

  testTheSliceHasTheLimitsOfAll = {
    expr =
      (evaluated {
        memoryMax = "24G";
        cpuQuota = "1200%";
      }).systemd.slices.system-taskserver.sliceConfig;
    expected = {
      MemoryMax = "24G";
      CPUQuota = "1200%";
    };
  };

  testAPreforkWorkerOutlivesAnOutOfMemoryKill = {
    expr = map (pool: (worker { inherit pool; }).serviceConfig.OOMPolicy) [
      "prefork"
      "gevent"
    ];
    expected = [
      "continue"
      "stop"
    ];
  };

  testAWorkerMayKeepRunningOverASwitch = {
    expr = (worker { restartIfChanged = false; }).restartIfChanged;
    expected = false;
  };

  testUserAndGroupAreHonouredByEveryUnit = {
    expr = lib.unique (
      lib.mapAttrsToList (_: unit: "${unit.serviceConfig.User}:${unit.serviceConfig.Group}") (
        lib.filterAttrs (name: _: lib.hasPrefix "task-server-" name) (
          services (
            remote
            // {
              flower.enable = true;
              migrations.enable = true;
            }
          )
        )
      )
    );
    expected = [ "www-data:www-data" ];
  };

  testAUserThatIsNotOursIsNotCreated = {
    expr = (evaluated remote).users.users ? task-server;
    expected = false;
  };

  testSecretsAreCredentials = {
    expr = (services remote).task-server-prefork.serviceConfig.LoadCredential;
    expected = [ "broker_url:/run/secrets/broker" ];
  };

  testFlowersPasswordIsFlowersAlone = {
    expr = {
      worker = prefork.serviceConfig.LoadCredential;
      flower = local.task-server-flower.serviceConfig.LoadCredential;
    };
    expected = {
      worker = [ "11-private.py:/run/secrets/11-private.py" ];
      flower = [
        "11-private.py:/run/secrets/11-private.py"
        "flower_basic_auth:/run/secrets/flower"
      ];
    };
  };

  testPrivateSettingsAreReadFromTheCredentials = {
    expr = prefork.environment.TASK_SERVER_SETTINGS_PATH;
    expected = "%d";
  };

  testTheBrokerIsASocket = {
    expr =
      let
        redis = (evaluated { }).services.redis.servers.task-server;
      in
      {
        inherit (redis) port appendOnly;
        policy = redis.settings.maxmemory-policy;
        groups = prefork.serviceConfig.SupplementaryGroups;
        url = prefork.environment.REDIS_URL;
      };
    expected = {
      port = 0;
      appendOnly = true;
      policy = "noeviction";
      groups = [ "redis-task-server" ];
      url = "redis+socket:///run/redis-task-server/redis.sock?virtual_host=0";
    };
  };

  testABrokerElsewhereMeansNoneHere = {
    expr =
      (evaluated remote).services.redis.servers ? task-server
      && (evaluated remote).services.redis.servers.task-server.enable;
    expected = false;
  };

  testTheDatabaseIsTheUsers = {
    expr =
      let
        inherit
          (evaluated {
            user = "cl";
            database.createLocally = true;
          })
          services
          ;
      in
      {
        inherit (services.postgresql) ensureDatabases;
        users = map (user: { inherit (user) name ensureDBOwnership; }) services.postgresql.ensureUsers;
      };
    expected = {
      ensureDatabases = [ "cl" ];
      users = [
        {
          name = "cl";
          ensureDBOwnership = true;
        }
      ];
    };
  };

  testAPercentSignIsNoSpecifier = {
    expr = prefork.environment.DATABASE_URL;
    expected = "postgres://%%2Frun%%2Fpostgresql/task-server";
  };

  testMigrationsComeBeforeTheWorkers = {
    expr = {
      required = prefork.requires;
      ordered = lib.elem "task-server-migrate.service" prefork.after;
      type = local.task-server-migrate.serviceConfig.Type;
    };
    expected = {
      required = [ "task-server-migrate.service" ];
      ordered = true;
      type = "oneshot";
    };
  };

  testMigrationsAreNotForWorkersOfADatabaseElsewhere = {
    expr = (services remote) ? task-server-migrate;
    expected = false;
  };

  testServersAreWantedAndNotRequired = {
    expr = {
      wanted = lib.elem "redis-task-server.service" prefork.wants;
      required = lib.elem "redis-task-server.service" prefork.requires;
    };
    expected = {
      wanted = true;
      required = false;
    };
  };

  testFlowerIsOffTheNetwork = {
    expr =
      let
        config = evaluated { flower.enable = true; };
      in
      {
        inherit (config.services.task-server.flower) address port openFirewall;
        open = lib.elem 5555 config.networking.firewall.allowedTCPPorts;
      };
    expected = {
      address = "127.0.0.1";
      port = 5555;
      openFirewall = false;
      open = false;
    };
  };

  testTheFirewallOpensForFlower = {
    expr =
      lib.elem 8555
        (evaluated {
          flower = {
            enable = true;
            port = 8555;
            openFirewall = true;
          };
        }).networking.firewall.allowedTCPPorts;
    expected = true;
  };

  testMetricsStartFlower = {
    expr =
      let
        config = evaluated {
          metrics.enable = true;
          settings.flower.url_prefix = "/flower";
        };
        job = lib.head config.services.prometheus.scrapeConfigs;
      in
      {
        flower = config.systemd.services ? task-server-flower;
        inherit (job) job_name metrics_path;
        targets = (lib.head job.static_configs).targets;
      };
    expected = {
      flower = true;
      job_name = "task-server";
      metrics_path = "/flower/metrics";
      targets = [ "127.0.0.1:5555" ];
    };
  };

  testCodeInAHomeIsBoundReadOnly = {
    expr =
      let
        unit = (services { code = "/home/cl/code"; }).task-server-prefork.serviceConfig;
      in
      {
        inherit (unit) ProtectHome BindReadOnlyPaths;
      };
    expected = {
      ProtectHome = "tmpfs";
      BindReadOnlyPaths = [ "/home/cl/code" ];
    };
  };

  testMediaElsewhereIsWritable = {
    expr = (services { mediaDir = "/sata"; }).task-server-prefork.serviceConfig.ReadWritePaths;
    expected = [ "/sata" ];
  };

  testPrivateNetworkLeavesSockets = {
    expr =
      let
        unit = (worker { privateNetwork = true; }).serviceConfig;
      in
      {
        inherit (unit) PrivateNetwork RestrictAddressFamilies;
      };
    expected = {
      PrivateNetwork = true;
      RestrictAddressFamilies = [ "AF_UNIX" ];
    };
  };

  testNetworkIsThereUnlessAskedOtherwise = {
    expr = prefork.serviceConfig.PrivateNetwork;
    expected = false;
  };

  testASoundConfigurationIsNotRefused = {
    expr = refusals {
      database.createLocally = true;
      flower.enable = true;
      workers.bulk.prefetch_multiplier = 5;
    };
    expected = [ ];
  };

  testADrainLongerThanTheStopTimeoutIsRefused = {
    expr = map (lib.hasInfix "drain_seconds (100) is not below stopTimeout (50)") (refusals {
      workers.one = {
        drain_seconds = 100;
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

  testAnUnknownPoolIsAnError = {
    expr = fails (worker { pool = "threads"; }).serviceConfig.ExecStart;
    expected = true;
  };

  testASecretInTheStoreIsAnError = {
    expr =
      fails
        (evaluated { credentials.broker_url = "${./cases.nix}"; }).services.task-server.credentials;
    expected = true;
  };

  testASecretAsAPathLiteralIsAnError = {
    expr = fails (evaluated { credentials.broker_url = ./cases.nix; }).services.task-server.credentials;
    expected = true;
  };

  testTaskServerIsLaidOverAForeignProject = {
    expr = {
      inherit (foreign) hasTaskServer;
      # Extras that its lock does not have are met by their packages.
      needs = lib.attrNames foreign.pythonSet.task-server.dependencies;
      # What it has locked stays.
      django = foreign.pythonSet.django.version == project.pythonSet.django.version;
    };
    expected = {
      hasTaskServer = false;
      needs = [
        "celery"
        "click"
        "django"
        "gevent"
        "hiredis"
        "kombu"
        "packaging"
        "redis"
        "rich"
      ];
      django = true;
    };
  };

  testOurOwnLockHasTaskServer = {
    expr = project.hasTaskServer;
    expected = true;
  };

  testOnlyAForeignProjectHasAnEnvironmentForFlower = {
    expr = map (one: one.flowerEnvironment.drvPath == one.environment.drvPath) [
      project
      foreign
    ];
    expected = [
      true
      false
    ];
  };
}
