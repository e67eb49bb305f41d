#!/usr/bin/env bash
# All that only a GPU can show, in one go and one report: the doctor, the tests that need a GPU and
# all that run on one, and every table of the benchmarks. A failure is noted and the rest goes on:
#     bash benchmarks/gpu.sh FOLDER
# What of the library goes another way on a GPU, and which tests go that way on a pretended one
# wherever there is none, stands in tests/unit/device/test_gpu_paths.py.
set -uo pipefail
folder=${1:?usage: bash benchmarks/gpu.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"
report=$folder/report.md
failed=0
if ! python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "No GPU is at hand: torch.cuda.is_available() is False." >&2
    exit 2
fi

part() { # TITLE COMMAND...
    local title=$1 begin=$SECONDS code=0
    shift
    echo "== $title"
    "$@" >"$folder/part.txt" 2>&1 || code=$?
    ((code == 0)) || failed=1
    {
        printf '## %s\n\n`%s`: %s, %s s\n\n```\n' "$title" "$*" \
            "$( ((code == 0)) && echo passed || echo "FAILED with $code")" $((SECONDS - begin))
        tail -n 200 "$folder/part.txt"
        printf '```\n\n'
    } >>"$report"
    rm "$folder/part.txt"
}

cd "$here/.."
printf '# Report of a GPU, %s\n\n' "$(date -u +%Y-%m-%d)" >"$report"
part "Machine" nvidia-smi
part "Doctor" python -m cyclegan_core.cli doctor
part "Tests" python -m pytest -q -rs tests/unit tests/parity
part "Host" python -m pytest -q -m host tests/host
part "Benchmarks" bash benchmarks/all.sh "$folder" --device cuda
echo "$report"
exit $failed
