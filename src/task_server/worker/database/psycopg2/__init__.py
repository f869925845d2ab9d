"""psycopg2 under gevent: its wait callback, its connections, COPY and large objects."""
