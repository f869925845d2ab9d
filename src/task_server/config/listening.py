"""Where services listen unless the configuration says otherwise; plain, for a health check."""

#: On loopback: who wants it elsewhere says so.
ADDRESS = "127.0.0.1"

FLOWER_PORT = 5555
METRICS_PORT = 9808

#: Flower is at the root.
URL_PREFIX = ""
