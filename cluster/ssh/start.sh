#!/bin/bash
# A cluster over ssh: the scheduler on this machine, workers on every host of a file.
#
#   cluster/ssh/start.sh hosts.txt /shared/yfccdask-cluster
#   DASK_CONFIG=/shared/yfccdask-cluster/dask yfccdask train my.yaml --data /shared/blocks \
#     --run /shared/run-1 --scheduler-file /shared/yfccdask-cluster/scheduler.json
#   cluster/ssh/stop.sh hosts.txt /shared/yfccdask-cluster
#
# The folder must not exist, and all hosts see it at the same path, as they do store, runs and this
# environment; it holds the key that lets in. YFCCDASK_SSH="ssh -p 2222" is used in place of ssh,
# YFCCDASK_INTERFACE=ib0 is the network interface on all machines.
set -eu
if [ $# -ne 2 ]; then
  echo "expected HOSTS FOLDER, found $# arguments: see the head of start.sh" >&2
  exit 2
fi
hosts=$1 folder=$(realpath -m "$2") dask=$(command -v dask)
interface=${YFCCDASK_INTERFACE:+--interface $YFCCDASK_INTERFACE}
file=$folder/scheduler.json
DASK_CONFIG=$(yfccdask config cluster "$folder")
export DASK_CONFIG OMP_NUM_THREADS=1

# shellcheck disable=SC2086
nohup "$dask" scheduler --port 0 --scheduler-file "$file" --dashboard-address 127.0.0.1:0 \
  --pid-file "$folder/scheduler.pid" --preload yfccdask.preload $interface \
  >>"$folder/scheduler.log" 2>&1 </dev/null &
scheduler=$!
until [ -e "$file" ]; do
  kill -0 $scheduler 2>/dev/null || { tail -n 5 "$folder/scheduler.log" >&2; exit 1; }
  sleep 0.2
done

while read -r host workers memory; do
  case $host in '' | '#'*) continue ;; esac
  ${YFCCDASK_SSH:-ssh} "$host" "export DASK_CONFIG='$DASK_CONFIG' OMP_NUM_THREADS=1
    nohup '$dask' worker --scheduler-file '$file' --nthreads 1 --nworkers ${workers:-\$(nproc)} \
      --memory-limit ${memory:-auto} --no-dashboard --local-directory /tmp --death-timeout 300 \
      --dashboard-address 127.0.0.1:0 \
      --pid-file '$folder/workers-$host.pid' $interface \
      >>'$folder/workers-$host.log' 2>&1 </dev/null &" </dev/null
done <"$hosts"
echo "export DASK_CONFIG=$DASK_CONFIG"
echo "scheduler file: $file"
