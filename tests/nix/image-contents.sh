#!/usr/bin/env bash
# image-contents.sh TARBALL CONFIG BYTES: is the image what image.json
# says, is it no larger than BYTES, and is nothing in it that should not be?
set -euo pipefail
tarball=$1
config=$2
largest=$3

fail() {
  echo "$(basename "$tarball"): $1" >&2
  exit 1
}

size=$(stat --format=%s "$(readlink -f "$tarball")")
[ "$size" -le "$largest" ] || fail "$size bytes are more than $largest"

image=$(mktemp --directory)
tar -xf "$tarball" -C "$image"
manifest=$image/manifest.json
actual=$image/$(jq -r '.[0].Config' "$manifest")

# Every value of the description is in the image, as it stands there.
jq -e --slurpfile description "$config" '
  .config as $actual
  | $description[0].config
  | .User == $actual.User
    and .WorkingDir == $actual.WorkingDir
    and .Entrypoint == $actual.Entrypoint
    and .StopSignal == $actual.StopSignal
    and ([.Env | to_entries[] | "\(.key)=\(.value)"] - $actual.Env == [])
    and (.Labels | to_entries | all($actual.Labels[.key] == .value))
' "$actual" >/dev/null || fail "its configuration is not that of $config"
jq -e '.config.Healthcheck.Test[0] == "CMD"' "$actual" >/dev/null || fail "it has no health check"
jq -e '.created > "1980"' "$actual" >/dev/null || fail "it says that it was created in 1970"

names=$image/names
jq -r '.[0].Layers[]' "$manifest" | while read -r layer; do
  tar --numeric-owner -tvf "$image/$layer"
done >"$names"

has() {
  grep -qE -- "$1" "$names" || fail "it has no $2"
}
hasnt() {
  if grep -E -- "$1" "$names" >&2; then
    fail "it has $2"
  fi
}

has ' (\./|/)?etc/passwd' 'names of users'
has ' (\./|/)?etc/ssl/certs/ca-certificates\.crt' 'certificates'
has ' (\./|/)?opt/task-server ->' 'environment'
has ' (\./|/)?usr/bin/catatonit ->' 'process that reaps'
has ' (\./|/)?usr/share/zoneinfo ->' 'time zones'
has '^drwxrwxrwt .* (\./|/)?tmp/?$' 'writable /tmp'
has '^drwxr-xr-x 0/0 .* (\./|/)?sata/?$' 'media folder that only a mount makes writable'
hasnt ' (\./|/)?(usr/)?bin/(ba)?sh( |$)' 'a shell on its PATH'
hasnt '-gcc-wrapper-|-binutils-wrapper-' 'a compiler'
hasnt '(11-private\.py|\.env)$' 'a file of secrets'

layers=$(jq '.[0].Layers | length' "$manifest")
[ "$layers" -le 125 ] || fail "$layers layers leave none to build on it"
