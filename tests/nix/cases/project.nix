# Projects through mkTaskServer: this one, and a foreign one.
{
  lib,
  fails,
  foreign,
  machine,
  mkForeign,
  project,
  ...
}:
{
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
        "gevent"
        "hiredis"
        "kombu"
        "packaging"
        "pybase64"
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

  testTheImagesOfTheReferenceNameNoApp = {
    expr = map (
      one: lib.filter (lib.hasPrefix "TASK_SERVER_APP=") one.images.workerImage.arguments.config.Env
    ) [ project foreign ];
    expected = [
      [ ]
      [ "TASK_SERVER_APP=parish" ]
    ];
  };

  testNoWorkerCarriesFlowerOrTheMetrics = {
    expr =
      let
        carries =
          name: environment:
          lib.any (lib.hasInfix "-${name}-") (lib.splitString ":" environment.NIX_PYPROJECT_DEPS);
        have =
          environment:
          lib.filter (name: carries name environment) [
            "celery"
            "flower"
            "prometheus-client"
            "tornado"
          ];
      in
      lib.concatMap
        (one: [
          (have one.environment)
          (have one.flowerEnvironment)
          (have one.metricsEnvironment)
        ])
        [
          project
          foreign
        ];
    expected = lib.concatLists (
      lib.genList (_: [
        [ "celery" ]
        [
          "celery"
          "flower"
          "prometheus-client"
          "tornado"
        ]
        [
          "celery"
          "prometheus-client"
        ]
      ]) 2
    );
  };

  testPsycopgIsGivenLibpq = {
    expr = lib.hasInfix "/lib/libpq." project.pythonSet.psycopg.postInstall;
    expected = true;
  };

  testTheStackIsTheProjects = {
    expr = map (one: lib.hasInfix "\${TASK_SERVER_APP:-parish}" one.stack.text) [
      project
      foreign
    ];
    expected = [
      false
      true
    ];
  };

  testTheManifestsRunTheProjectsImages = {
    expr = map (one: one.imageName) (lib.attrValues foreign.kubernetes.pinned);
    expected = [
      "parish-flower"
      "parish-metrics"
      "parish-worker"
    ];
  };

  testABuildSystemOfAPackageThatTheLockLacksIsAnError = {
    expr = fails (mkForeign { buildSystems.docpot = [ "setuptools" ]; }).environment.drvPath;
    expected = true;
  };

  testTheCodeOfTheImagesIsTheMachinesToo = {
    expr =
      let
        withCode = mkForeign { code = ../foreign/parish; };
        inherit
          (machine {
            imports = [ withCode.nixosModule ];
            services.task-server.enable = true;
          })
          config
          ;
      in
      {
        mounted = lib.hasInfix "CL_CODE_DIR" withCode.stack.text;
        named = config.services.task-server.code != null;
      };
    expected = {
      mounted = false;
      named = true;
    };
  };
}
