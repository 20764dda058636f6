# Sourced by the other scripts: goes to the repository root and leaves in PYTHON the
# interpreter of .venv, where the pinned requirements and this package are installed.
# MVAE_TF_REQUIREMENTS names another file of requirements, such as that of the floors.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "error: $*" >&2
  exit 1
}

supported() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
    2>/dev/null
}

find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11 python; do
    supported "$candidate" && echo "$candidate" && return
  done
  fail "Python 3.11, 3.12 or 3.13 is needed; none was found on PATH"
}

PYTHON="$PWD/.venv/bin/python"
if ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
  base=$(find_python)
  echo "Making .venv with $("$base" --version)"
  "$base" -m venv --clear .venv ||
    fail "$base cannot make a virtual environment; on Debian: apt install python3-venv"
fi
supported "$PYTHON" ||
  fail ".venv holds $("$PYTHON" --version), not 3.11 to 3.13; remove .venv and try again"

requirements="${MVAE_TF_REQUIREMENTS:-requirements-test.txt}"
[[ -f "$requirements" ]] || fail "there is no file of requirements $requirements"

# The path is part of the stamp: an editable install points at the folder it was made in.
stamp=$({ pwd; cat "$requirements" requirements*.txt setup.py; } | "$PYTHON" -c \
  'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
if [[ "$(cat .venv/installed 2>/dev/null)" != "$stamp" ]]; then
  echo "Installing $requirements into .venv (once; some minutes)"
  "$PYTHON" -m pip install --quiet -r "$requirements" -e . ||
    fail "pip could not install the requirements; see its message above"
  echo "$stamp" >.venv/installed
fi

export PYTHON TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
