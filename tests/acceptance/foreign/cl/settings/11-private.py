DATABASES["default"].update(
    HOST=os.environ["PGHOST"], USER=os.environ["PGUSER"], NAME=os.environ["PGDATABASE"]
)
