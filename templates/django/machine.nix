{
  # To be replaced by what the machine really is.
  boot.isContainer = true;
  system.stateVersion = "26.05";

  services.task-server = {
    enable = true;
    database.createLocally = true;
    flower.enable = true;
    workers = {
      prefork.memoryMax = "4G";
      gevent.settings.concurrency = 256;
    };
  };
}
