# Redis, PostgreSQL, migrations and Flower as they evaluate.
{
  lib,
  evaluated,
  services,
  prefork,
  local,
  remote,
  ...
}:
{
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

  testAChangeOfAWorkerDoesNotMigrate = {
    expr =
      let
        migrate =
          concurrency:
          (services {
            database.createLocally = true;
            workers.one.settings = { inherit concurrency; };
          }).task-server-migrate;
      in
      {
        same = (migrate 3).environment == (migrate 4).environment;
        inherit (migrate 3) stopIfChanged;
      };
    expected = {
      same = true;
      stopIfChanged = false;
    };
  };

  testMigrationsFindCodeThatIsAPath = {
    expr =
      let
        path =
          code:
          (services {
            inherit code;
            migrations.enable = true;
          }).task-server-migrate.environment.PYTHONPATH;
      in
      map (code: builtins.hasContext (path code)) [
        ../foreign/parish
        "/opt/celery"
      ];
    expected = [
      true
      false
    ];
  };

  testFlowerWritesNoMedia = {
    expr =
      let
        flower =
          mediaDir:
          lib.filterAttrs (name: _: lib.hasSuffix "Paths" name)
            (services {
              flower.enable = true;
              inherit mediaDir;
            }).task-server-flower.serviceConfig;
      in
      map flower [
        "/var/lib/task-server/media"
        "/home/cl/media"
      ];
    expected = [
      {
        BindPaths = [ ];
        BindReadOnlyPaths = [ ];
        ReadOnlyPaths = [ "-/var/lib/task-server/media" ];
        ReadWritePaths = [ ];
      }
      {
        BindPaths = [ ];
        BindReadOnlyPaths = [ "-/home/cl/media" ];
        ReadOnlyPaths = [ "-/home/cl/media" ];
        ReadWritePaths = [ ];
      }
    ];
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

  testBeatRunsWhereItIsEnabled = {
    expr =
      let
        config = evaluated {
          beat.enable = true;
          settings.beat.lock_seconds = 20;
        };
        unit = config.systemd.services.task-server-beat;
      in
      {
        elsewhere = (evaluated { }).systemd.services ? task-server-beat;
        inherit (unit.serviceConfig) Type Restart RestartPreventExitStatus;
        started = lib.hasSuffix ''/bin/task-server" "beat"'' unit.serviceConfig.ExecStart;
        # The schedule file outlives a reboot.
        state = lib.elem "task-server" unit.serviceConfig.StateDirectory;
      };
    expected = {
      elsewhere = false;
      Type = "notify";
      Restart = "always";
      RestartPreventExitStatus = 78;
      started = true;
      state = true;
    };
  };

  testPrometheusCollectsTheMetrics = {
    expr =
      let
        config = evaluated {
          metrics.enable = true;
          metrics.address = "0.0.0.0";
          workers.bulk.settings.queues = [ "batch" ];
        };
        job = lib.head config.services.prometheus.scrapeConfigs;
        unit = config.systemd.services.task-server-metrics;
      in
      {
        elsewhere = (evaluated { }).systemd.services ? task-server-metrics;
        inherit (unit.serviceConfig) Type;
        started = lib.hasSuffix ''/bin/task-server" "metrics"'' unit.serviceConfig.ExecStart;
        inherit (job) job_name;
        inherit (lib.head job.static_configs) targets;
        rules = map baseNameOf config.services.prometheus.ruleFiles;
        open = lib.elem 9808 config.networking.firewall.allowedTCPPorts;
      };
    expected = {
      elsewhere = false;
      Type = "notify";
      started = true;
      job_name = "task-server";
      targets = [ "127.0.0.1:9808" ];
      rules = [ "task-server.rules.yml" ];
      open = false;
    };
  };
}
