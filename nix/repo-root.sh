# Sets REPO_ROOT to the folder of the workspace, where uv.lock is: the one that the
# shell was entered in, or one above it; else the one below the top of the checkout
# that $workspace_subfolder names.
upwards() {
  folder=$PWD
  while [ -n "$folder" ] && [ ! -e "$folder/$1" ]; do
    folder=${folder%/*}
  done
  printf %s "$folder"
}

REPO_ROOT=$(upwards uv.lock)
if [ -z "$REPO_ROOT" ]; then
  REPO_ROOT=$(upwards .git)
  REPO_ROOT=${REPO_ROOT:-$PWD}
  if [ -e "$REPO_ROOT${workspace_subfolder-}/uv.lock" ]; then
    REPO_ROOT=$REPO_ROOT${workspace_subfolder-}
  fi
fi
export REPO_ROOT
unset workspace_subfolder
unset -f upwards
