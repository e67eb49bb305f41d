#!/usr/bin/env bash
# All tables again, each with a JSON file in FOLDER; options go to the scripts that take them:
#     bash benchmarks/all.sh FOLDER [--device cuda] [--threads 2] [--clock wall]
set -euo pipefail
folder=$1
shift
mkdir -p "$folder"
here=$(dirname "$0")
again() { # NAME SCRIPT OPTIONS...
    local name=$1 script=$2
    shift 2
    echo "== $script $*"
    python "$here/$script" "$@" --json "$folder/$name.json" | tee "$folder/$name.txt"
}

again train_step_fp32 train_step.py "$@"
again train_step_bf16 train_step.py --precision bf16 "$@"
again ablation train_step.py --cases resnet_6@128 --precision bf16 --ablate "$@"
again memory_512 train_step.py --cases resnet_9@512 --steps 0 --precision bf16 \
    --variants recompute=true batch_size=2 batch_size=2,accumulate=2 "$@"
again translate translate.py "$@"
again scaling scaling.py "$@"
again high_resolution high_resolution.py "$@"
again input_pipeline input_pipeline.py
again startup startup.py
again hub_pull hub_pull.py
again warm_node warm_node.py
# Besides, with the two folders of pictures: quality.py DATA and small_training.py DATA, and
# learning.py with its four sets of pictures, which takes days for all rows.
