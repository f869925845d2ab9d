"""psycopg 3: connections that are used again."""
