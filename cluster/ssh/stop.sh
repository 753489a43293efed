#!/bin/bash
# End what start.sh has started: the run commits, then scheduler and workers go.
#
#   cluster/ssh/stop.sh hosts.txt /shared/yfccdask-cluster
set -u
if [ $# -ne 2 ]; then
  echo "expected HOSTS FOLDER, found $# arguments: see the head of stop.sh" >&2
  exit 2
fi
hosts=$1 folder=$(realpath -m "$2")
scheduler=$(cat "$folder/scheduler.pid" 2>/dev/null)
if [ -n "$scheduler" ]; then
  kill -TERM "$scheduler"
  while kill -0 "$scheduler" 2>/dev/null; do sleep 0.2; done
fi
while read -r host _; do # those whose scheduler was lost
  case $host in '' | '#'*) continue ;; esac
  ${YFCCDASK_SSH:-ssh} "$host" "pid=\$(cat '$folder/workers-$host.pid' 2>/dev/null) &&
    kill -TERM \$pid" </dev/null 2>/dev/null
done <"$hosts"
rm -f "$folder/key.pem"
echo "logs are in $folder"
