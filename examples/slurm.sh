#!/bin/bash
# Extract features with many machines of a SLURM cluster, then train a head on them.
#
#   1. Copy this file beside your slides and fill in the part "Yours" below.
#   2. On the cluster's login node:   bash slurm.sh
#   3. See how it goes:               squeue --me        (and the files in logs/)
#
# `bash slurm.sh` computes nothing itself. It submits two jobs and ends:
#
#   extract   an array: the same script several times, each with a number of its own. By this
#             number `--shard slurm` takes its part of the slides. All parts write into one
#             folder, one file a slide, and none is in the other's way.
#   train     begins when every task of the array has ended well: checks all files, fits a head,
#             and leaves run/report.html to look at.
#
# If a task fails (a node went down, the time was over): give the same command again. What is done
# is checked and skipped, so that only the rest is computed. Two other ways:
#
#   scontrol requeue 1234_5               task 5 of array job 1234 again, as it was
#   OF=8 sbatch --array=3,5 slurm.sh extract
#                                         tasks 3 and 5 alone of an array of 8 (0-7); OF is the
#                                         size of the whole array. `--shard slurm` refuses such
#                                         gaps: it could not know that there were 8.
#   sbatch slurm.sh train                 afterwards: the train job alone (the first one was
#                                         withdrawn by SLURM when a task failed)
#
# Which tasks failed:   sacct -j 1234 --format=JobID,State,ExitCode
#
# Lines that begin with #SBATCH are read by SLURM, though they look like comments. What is given
# to `sbatch` on the command line wins over them.

#SBATCH --job-name=histokeras
#SBATCH --time=08:00:00
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --output=logs/%x-%A_%a.log

set -euo pipefail

# --- Yours --------------------------------------------------------------------------------------
SLIDES=${SLIDES:-slides/}         # your slides; every node must see them
LABELS=${LABELS:-labels.csv}      # a table with patient_id (or slide_id) and the labels
TARGET=${TARGET:-label}           # its column with the labels
OUT=${OUT:-study}                 # features go into $OUT/feats, the run into $OUT/run
TASKS=${TASKS:-8}                 # tasks of the array: as many as you have nodes or GPUs
DEVICE=${DEVICE:-gpu}             # gpu, or cpu where there is none
BACKBONE=${BACKBONE:-inceptionv3} # its weights are downloaded once; on nodes without a network the
                                  # error names the file to fetch on the login node, and its place
if [ "$DEVICE" = gpu ]; then
    RESOURCES="--gres=gpu:1"      # one GPU a task; some clusters want --partition=gpu too
    COMPUTE="--gpus all --compute-batch 64"
else
    RESOURCES="--cpus-per-task=16"
    COMPUTE="--gpus cpu"
fi
# How histokeras is reached: a virtual environment, a module, a container.
# source ~/histokeras/.venv/bin/activate
# ------------------------------------------------------------------------------------------------

submit() {
    mkdir -p logs
    local array train
    # $RESOURCES and $COMPUTE stand without quotes: they are several words.
    array=$(sbatch --parsable --array="0-$((TASKS - 1))" $RESOURCES "$0" extract)
    # afterok: only if no task failed. A cluster's name may follow the number, after a semicolon.
    train=$(sbatch --parsable --dependency="afterok:${array%%;*}" --kill-on-invalid-dep=yes \
        --output=logs/%x-%j.log "$0" train)
    echo "submitted: extract ${array%%;*} ($TASKS tasks), then train ${train%%;*}"
}

extract() {
    local shard=slurm code=0
    if [ -n "${OF:-}" ]; then shard="$SLURM_ARRAY_TASK_ID/$OF"; fi
    histokeras extract-features "$SLIDES" -o "$OUT/feats" --shard "$shard" \
        --backbone "$BACKBONE" --workers "${SLURM_CPUS_PER_TASK:-8}" $COMPUTE || code=$?
    # 4: finished, but some slides cannot be read; $OUT/feats/failures.csv says which and why. The
    # others are worth going on with. Remove this line if one bad slide is to stop everything.
    if [ "$code" -eq 4 ]; then code=0; fi
    return "$code"
}

train() {
    histokeras verify "$OUT/feats"
    histokeras fit-head "$OUT/feats" --labels "$LABELS" --target "$TARGET" -o "$OUT/run" --seed 0
}

case "${1:-submit}" in
    submit | extract | train) "${1:-submit}" ;;
    *)
        echo "usage: bash slurm.sh, or sbatch slurm.sh extract|train" >&2
        exit 2
        ;;
esac
