# Sourced by the scripts beside it: .venv in, the same .venv with exactly the locked packages out.
#
# Every package is checked against the hash in its lock file, and only wheels are taken: nothing
# that was downloaded runs while it is being installed. The one exception is Spark, which only
# `script/test --long` wants, and which has no wheel.
# shellcheck shell=bash

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null
PWD=$(pwd -P)

python_lowest=$(sed -n 's/^requires-python = ">=\(.*\)"$/\1/p' pyproject.toml)

fail() { # what failed, what to try
  printf 'Error: %s\nTry: %s\n' "$1" "$2" >&2
  exit 1
}

install_packages() { # names of Debian packages; asks for them by name when not root
  local command="apt-get install --yes --no-install-recommends $*"
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    fail "system packages are missing: $*" "sudo apt-get update && sudo $command"
  fi
  printf 'Installing system packages: %s\n' "$*"
  export DEBIAN_FRONTEND=noninteractive
  # a new machine has no package lists, or old ones that name versions no longer served
  apt-get update --quiet=2
  $command --quiet=2 >/dev/null
}

venv_place() { # a virtual environment works only where, and for the Python, that it was made
  printf '%s %s' "$PWD" "$(readlink -f .venv/bin/python)"
}

make_venv() {
  local python=${PYTHON:-python3} made_for=
  [[ -r .venv/place ]] && made_for=$(<.venv/place)
  [[ -x .venv/bin/python && $made_for == "$(venv_place)" ]] && return

  "$python" -c "import sys; sys.exit(sys.version_info < (${python_lowest/./, }))" ||
    fail "$python is not Python $python_lowest or newer" "PYTHON=/path/to/python3 $0"
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian and Ubuntu keep these two modules in a package per Python version
    install_packages "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  fi
  "$python" -m venv --clear .venv
  venv_place >.venv/place
}

install_installer() {
  # pip, because a new machine has nothing else; what it installs is several times as quick
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --require-hashes --no-deps --only-binary :all: --requirement requirements-install.lock
}

install_lock() { # a lock file, maybe another one on top of it; returns at once when .venv holds them already
  local locks=("$@") installed='' fingerprint guard
  exec {guard}<pyproject.toml
  flock "$guard" # two scripts may be started at the same time
  make_venv

  [[ -r .venv/installed ]] && installed=$(<.venv/installed)
  # the tests' lock contains the server's: whoever runs the tests, or all of them, keeps their packages
  [[ $installed == requirements-test.lock* ]] && locks[0]=requirements-test.lock
  [[ $installed == *requirements-readers.lock* ]] && locks[1]=requirements-readers.lock
  fingerprint="${locks[*]} $(cat requirements-install.lock "${locks[@]}" pyproject.toml | sha256sum)"
  if [[ $installed != "$fingerprint" ]]; then
    printf 'Installing %s into .venv\n' "${locks[*]}"
    rm -f .venv/installed
    install_installer
    .venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes --only-binary :all: \
      --compile-bytecode requirements-install.lock "${locks[0]}"
    if [[ ${locks[1]:-} ]]; then
      # Spark's own setup.py runs, with the setuptools that is installed by now
      .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes \
        --only-binary :all: --no-binary pyspark --no-build-isolation --requirement "${locks[1]}"
    fi
    .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
    printf '%s' "$fingerprint" >.venv/installed
  fi
  exec {guard}<&- # or the server would hold the lock for as long as it runs
}
