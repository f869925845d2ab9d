# The services of a deployment, from the program's own table, which describes its
# columns: a row for the workers, and one for each service beside them.
let
  rows = builtins.fromTOML (builtins.readFile ../src/task_server/config/services.toml);
  isOfWorkers = name: rows.${name}.per_worker or false;
in
{
  inherit (rows) worker;
  # One process each, with a table in task-server.toml and options of its name.
  others = removeAttrs rows (builtins.filter isOfWorkers (builtins.attrNames rows));
}
