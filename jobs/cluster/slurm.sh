#!/bin/bash
# One run on a Slurm cluster: Ray on every node, the driver on the first, all gone at the end.
#
#   sbatch jobs/cluster/slurm.sh jobs/paper-mpii-text.yaml --set output=/shared/mpii
#
# The checkout with its .venv, the models and the output lie on a file system that all nodes share. When the time is up
# or the nodes are taken, Slurm queues the job again, and it goes on from what the output holds.
#SBATCH --job-name=factory
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=factory-%j.log
set -euo pipefail

source .venv/bin/activate
umask 077
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$PWD/.ray-token-$SLURM_JOB_ID"
python -c 'import secrets; print(secrets.token_hex(32))' > "$RAY_AUTH_TOKEN_PATH"
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"' EXIT

hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts%%$'\n'*}
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
  ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="$SLURM_GPUS_PER_NODE" -- \
  factory run "$@" --set engine=ray --set ray_address=auto
