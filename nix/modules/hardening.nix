# What a unit of ours may not do. Each line that grants something says why;
# `systemd-analyze security` gives a worker unit less than 1.5.
{
  # No privilege, and no way to one.
  CapabilityBoundingSet = "";
  AmbientCapabilities = "";
  NoNewPrivileges = true;
  RestrictSUIDSGID = true;
  PrivateUsers = true;

  # The machine is read-only, and most of it is out of sight.
  ProtectSystem = "strict";
  ProtectHome = true;
  PrivateTmp = true;
  PrivateDevices = true;
  PrivateMounts = true;
  PrivateIPC = true;
  ProtectProc = "invisible";
  RemoveIPC = true;
  DevicePolicy = "closed";

  # The kernel stays as it is.
  ProtectClock = true;
  ProtectControlGroups = true;
  ProtectHostname = true;
  ProtectKernelLogs = true;
  ProtectKernelModules = true;
  ProtectKernelTunables = true;
  LockPersonality = true;
  MemoryDenyWriteExecute = true;
  RestrictNamespaces = true;
  RestrictRealtime = true;
  SystemCallArchitectures = "native";
  SystemCallFilter = [
    "@system-service"
    "~@privileged @resources"
  ];
  # A refused call is an error that Python reports, not the end of the
  # worker.
  SystemCallErrorNumber = "EPERM";

  # Granted: sockets. AF_UNIX for systemd, journald and local servers; the
  # others because tasks talk to the world and the broker may be elsewhere.
  RestrictAddressFamilies = [
    "AF_UNIX"
    "AF_INET"
    "AF_INET6"
  ];

  # Granted: all of /proc that is not about processes. The heartbeat names the
  # boot that it is of (/proc/sys/kernel/random/boot_id), and a probe from
  # outside the unit would take one without it for a relic.
  ProcSubset = "all";
}
