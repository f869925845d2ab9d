# Projects through mkTaskServer: this one, and a foreign one.
{
  lib,
  foreign,
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

  testNoWorkerCarriesFlower = {
    expr = map (one: one.flowerEnvironment.drvPath == one.environment.drvPath) [
      project
      foreign
    ];
    expected = [
      false
      false
    ];
  };
}
