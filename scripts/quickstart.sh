#!/usr/bin/env bash
# Trains MVAE-GS on real handwritten digits, evaluates it, draws its figures, exports it,
# and generates images from the export. Each call makes a run folder of its own. Options
# go to the training: `bash scripts/quickstart.sh --epochs 5`.
set -euo pipefail
SECONDS=0
source "$(dirname "${BASH_SOURCE[0]}")/setup_venv.sh"

run=runs/quickstart
for ((number = 2; ; number++)); do
  [[ -e "$run" ]] || break
  run="runs/quickstart-$number"
done

step() { printf '\n== %s\n' "$*"; }

step "Training"
"$PYTHON" -m mvae_tf train --preset mvae-gs-digits --output "$run" "$@"
step "Evaluating"
"$PYTHON" -m mvae_tf evaluate "$run"
step "Drawing the figures"
"$PYTHON" -m mvae_tf report "$run"
step "Exporting"
"$PYTHON" -m mvae_tf export "$run" --to "$run/export"
step "Generating from the export, with TensorFlow alone"
"$PYTHON" scripts/sample_export.py "$run/export" --to "$run/generated.png"

cat <<END

Done in $SECONDS seconds. All of it is in $PWD/$run:
  report.html      settings, numbers and figures on one page; open it in a browser
  metrics.json     the numbers
  figures/         the figures
  model.keras      the model: mvae_tf.load("$run")
  export/          the model for TF Serving
  generated.png    images that the export generated
  logs/            curves: tensorboard --logdir $run/logs

To use the environment in this shell: source .venv/bin/activate
END
