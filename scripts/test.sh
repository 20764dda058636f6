#!/usr/bin/env bash
# Runs the linter, the type checker and the tests; further arguments go to pytest.
# --all adds the tests that are marked `extra`, which take long.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_venv.sh"

arguments=()
for argument in "$@"; do
  if [[ "$argument" == --all ]]; then
    arguments+=(-m "not network")
  else
    arguments+=("$argument")
  fi
done

"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy
# Two processes: what a small machine has cores for, and each takes 2 GB of memory.
exec "$PYTHON" -m pytest -q -n 2 --dist worksteal --durations=15 "${arguments[@]}"
