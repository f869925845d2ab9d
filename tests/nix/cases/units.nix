# Units of workers as they evaluate.
{
  lib,
  services,
  worker,
  evaluated,
  prefork,
  remote,
  ...
}:
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

  testAStopOfTheTargetWaitsForTheWorkers = {
    expr = {
      inherit (prefork) partOf wantedBy;
      ordered = lib.elem "task-server.target" prefork.after;
    };
    expected = {
      partOf = [ "task-server.target" ];
      wantedBy = [ "task-server.target" ];
      ordered = true;
    };
  };

  testTheStopTimeoutIsAboveTheDrain = {
    expr = (worker { settings.drain_seconds = 600; }).serviceConfig.TimeoutStopSec;
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
    expr = map (pool: (worker { settings = { inherit pool; }; }).serviceConfig.OOMPolicy) [
      "prefork"
      "gevent"
    ];
    expected = [
      "continue"
      "stop"
    ];
  };

  testAWorkerMayKeepRunningOverASwitch = {
    expr =
      let
        inherit
          (services {
            migrations.enable = true;
            workers.one.restartIfChanged = false;
          })
          task-server-one
          ;
      in
      {
        inherit (task-server-one) restartIfChanged requires;
        # The restart of what it requires would be its own.
        wanted = lib.elem "task-server-migrate.service" task-server-one.wants;
        ordered = lib.elem "task-server-migrate.service" task-server-one.after;
      };
    expected = {
      restartIfChanged = false;
      requires = [ ];
      wanted = true;
      ordered = true;
    };
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

  testPrivateSettingsAreReadFromTheCredentials = {
    expr = prefork.environment.TASK_SERVER_SETTINGS_PATH;
    expected = "%d";
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
      BindReadOnlyPaths = [ "-/home/cl/code" ];
    };
  };

  testMediaElsewhereIsWritable = {
    expr = (services { mediaDir = "/sata"; }).task-server-prefork.serviceConfig.ReadWritePaths;
    # Absent, it is the program that names it, and not a unit that cannot start.
    expected = [ "-/sata" ];
  };

  testAWebServerMayReadWhatTasksWrite = {
    expr =
      map
        (
          umask:
          let
            unit = (services (lib.optionalAttrs (umask != null) { inherit umask; })).task-server-prefork;
          in
          {
            inherit (unit.serviceConfig) UMask StateDirectoryMode;
          }
        )
        [
          null
          "0027"
          "022"
        ];
    expected = [
      {
        UMask = "0077";
        StateDirectoryMode = "0750";
      }
      {
        UMask = "0027";
        StateDirectoryMode = "0750";
      }
      {
        UMask = "022";
        StateDirectoryMode = "0755";
      }
    ];
  };

  testAChangeOfOneWorkerRestartsThatOne = {
    expr =
      let
        before = services { flower.enable = true; };
        after = services {
          flower.enable = true;
          workers.prefork.settings.concurrency = 3;
          workers.gevent = { };
        };
      in
      map (name: before.${name}.environment == after.${name}.environment) [
        "task-server-prefork"
        "task-server-gevent"
        "task-server-flower"
      ];
    expected = [
      false
      true
      true
    ];
  };

  testATimeLimitIsKnownToAllWorkers = {
    expr =
      let
        long = services {
          workers.prefork.settings.time_limit = 86400;
          workers.gevent = { };
        };
      in
      # It raises the visibility timeout, which is one for all.
      long.task-server-gevent.environment == (services { }).task-server-gevent.environment;
    expected = false;
  };

  testTheOldNamesOfAWorkersSettingsWork = {
    expr =
      let
        config = evaluated {
          workers.one = {
            concurrency = 3;
            prefetch_multiplier = 5;
            drain_seconds = 600;
          };
        };
      in
      {
        inherit (config.services.task-server.workers.one.settings) concurrency prefetch_multiplier;
        stop = config.systemd.services.task-server-one.serviceConfig.TimeoutStopSec;
        warned = map (
          lib.hasInfix "has been renamed to `settings."
        ) config.services.task-server.workers.one.warnings;
      };
    expected = {
      concurrency = 3;
      prefetch_multiplier = 5;
      stop = 630;
      warned = [
        true
        true
        true
      ];
    };
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
}
