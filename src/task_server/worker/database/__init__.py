"""PostgreSQL under gevent: a pool of connections with a limit."""
