#!/usr/bin/env bash
# Runs the linter and the whole test suite; further arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_venv.sh"

"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
# Two processes: what a small machine has cores for, and each takes 2 GB of memory.
exec "$PYTHON" -m pytest -q -n 2 --dist worksteal --durations=15 "$@"
