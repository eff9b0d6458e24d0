#!/usr/bin/env bash
# Creates or reuses the Python environment of this repository: `infra/install.sh [VENV]` (default .venv).
#
# An environment whose stamp matches the lock, pyproject.toml, the interpreter and this folder is left as it
# is. Otherwise everything that requirements.lock pins is installed with its hashes by uv, then the project
# itself, editable, without build isolation, so that nothing outside the lock is ever fetched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${1:-.venv}
uv_version=0.13.9 # the installer is pinned like everything it installs

stamp() {
  { cat requirements.lock pyproject.toml; echo "$uv_version $PWD"; "$venv/bin/python" -VV; } | sha256sum | cut -d' ' -f1
}

if [ -x "$venv/bin/python" ] && [ -f "$venv/vidrd.stamp" ] && [ "$(cat "$venv/vidrd.stamp")" = "$(stamp)" ]; then
  exit 0
fi

started=$SECONDS
if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
  python=
  for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "error: no Python 3.11 to 3.13 found; install one, or name it: make PYTHON=/path/to/python3.11" >&2
    exit 2
  fi
  if ! "$python" -m venv --clear "$venv"; then
    echo "error: $python cannot create environments; on Debian: apt-get install python3-venv" >&2
    exit 2
  fi
fi

# uv does not read pip's settings: a mirror that pip was told of is handed on.
index=${PIP_INDEX_URL:-$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)}
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
certificates=${PIP_CERT:-$("$venv/bin/python" -m pip config get global.cert 2>/dev/null || true)}
[ -z "$certificates" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$certificates}"

echo "installing the pinned packages into $venv (once)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
export VIRTUAL_ENV=$PWD/$venv UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}"
case $venv in /*) VIRTUAL_ENV=$venv ;; esac
# A terminal shows uv's bars; whoever reads a log learns now and then that it goes on.
quiet=
if [ ! -t 2 ]; then
  quiet=--quiet
  used_mb() { df -Pm "$venv" | awk 'NR == 2 { print $3 }'; }
  before_mb=$(used_mb)
  exec {idle}<> <(:) # nothing ever comes from it, so that reading it waits without a process of its own
  (while ! read -rt 15 -u "$idle"; do echo "  still installing: $((SECONDS - started)) s, $(($(used_mb) - before_mb)) MB written"; done) &
  reporter=$!
  trap 'kill "$reporter" 2>/dev/null || true' EXIT
fi
# Compiled once here: each of the many processes of a run would spend ten seconds on it where none may write it.
"$venv/bin/uv" pip sync $quiet --compile-bytecode --require-hashes requirements.lock
"$venv/bin/uv" pip install --quiet --offline --no-deps --no-build-isolation --editable .
stamp >"$venv/vidrd.stamp"
echo "environment ready in $((SECONDS - started)) s"
