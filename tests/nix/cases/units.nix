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
}
