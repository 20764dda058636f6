#!/usr/bin/env bash
# Builds the documentation into docs/_build/html; every warning is an error.
#
#   bash scripts/build_docs.sh            with notebooks executed (some minutes)
#   bash scripts/build_docs.sh --fast     with notebooks executed in their fast setting
#   bash scripts/build_docs.sh --no-run   with notebooks as they are, without outputs
set -euo pipefail
execution=cache
case "${1:-}" in
  "") ;;
  --fast) export MVAE_TF_FAST=1 ;;
  --no-run) execution=off ;;
  *)
    echo "error: expected --fast, --no-run or nothing, got $1" >&2
    exit 2
    ;;
esac
source "$(dirname "${BASH_SOURCE[0]}")/setup_venv.sh"

# The kernels of the notebooks find this checkout, and their output its own place.
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
"$PYTHON" -m sphinx -b html --fail-on-warning --keep-going --quiet \
  -D nb_execution_mode="$execution" \
  -D nb_execution_cache_path="$PWD/docs/_build/notebooks${MVAE_TF_FAST:+-fast}" \
  docs docs/_build/html
echo "Open $PWD/docs/_build/html/index.html"
