#!/usr/bin/env bash
# A real SLURM on this machine, for the tests: partitions cpu and gpu of one node with two stand-in GPUs (a100), and
# partition pair of two small nodes, hosts of their own if that can be: a host name and processes that this one does not
# have; no accounting.
#   sandbox.sh install   Debian's packages (root)
#   sandbox.sh start     its own folder and ports; nothing else of the machine but a link in /etc/slurm, if none is there
#   sandbox.sh stop
set -euo pipefail
folder=${STACYCLE_SANDBOX:-/tmp/stacycle-slurm}
host=$(hostname -s)
nodes=(main pair1 pair2)
link=/etc/slurm/slurm.conf # jobs look here: Snakemake takes SLURM_CONF from them

free_ports() { # four of them
  python3 -c 'import socket; held = [socket.create_server(("", 0)) for _ in range(4)]; print(*(one.getsockname()[1] for one in held))'
}

write_settings() {
  read -r controller node first second < <(free_ports)
  cat >"$folder/slurm.conf" <<END
ClusterName=sandbox
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller
SlurmUser=root
SlurmdUser=root
SlurmdParameters=config_overrides
AuthType=auth/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
MinJobAge=300
ReturnToService=2
GresTypes=gpu
NodeName=main NodeHostname=$host NodeAddr=127.0.0.1 Port=$node CPUs=32 RealMemory=1000000 Gres=gpu:a100:2 State=UNKNOWN
NodeName=pair1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$first CPUs=4 RealMemory=1000000 State=UNKNOWN
NodeName=pair2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$second CPUs=4 RealMemory=1000000 State=UNKNOWN
PartitionName=cpu Nodes=main Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=main MaxTime=INFINITE State=UP
PartitionName=pair Nodes=pair1,pair2 MaxTime=INFINITE State=UP
END
  echo "NodeName=main Name=gpu Type=a100 File=$folder/gpu[0-1]" >"$folder/gres.conf"
  # stand-ins: all that SLURM wants of a device is that it is there
  ln -sf /dev/null "$folder/gpu0"
  ln -sf /dev/null "$folder/gpu1"
}

start_node() { # NAME [HOST]
  if [ -n "${2:-}" ] && unshare --uts --pid --fork --mount-proc true 2>/dev/null; then
    { cat /etc/hosts && echo "127.0.0.1 pair1 pair2"; } >"$folder/hosts"
    setsid unshare --uts --pid --fork --mount-proc --kill-child \
      sh -c "hostname $2; mount --bind $folder/hosts /etc/hosts; exec slurmd -D -N $1" </dev/null >/dev/null 2>&1 &
    echo $! >"$folder/host.$1.pid"
  else
    slurmd -N "$1"
  fi
}

case ${1:-} in
install)
  command -v slurmd >/dev/null && command -v munged >/dev/null && exit 0
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge >/dev/null
  ;;
start)
  rm -rf "$folder"/{state,spool} "$folder"/*.pid
  mkdir -p "$folder"/state "${nodes[@]/#/$folder/spool/}"
  write_settings
  mkdir -p "${link%/*}"
  if [ -L "$link" ] || [ ! -e "$link" ]; then ln -sf "$folder/slurm.conf" "$link"; fi
  if ! munge -n >/dev/null 2>&1; then
    install -d -o munge -g munge -m 755 /run/munge
    su -s /bin/sh munge -c /usr/sbin/munged
  fi
  export SLURM_CONF=$folder/slurm.conf
  slurmctld
  start_node main
  for node in pair1 pair2; do start_node "$node" "$node"; done
  for _ in $(seq 60); do
    [ "$(sinfo --noheader --format %T 2>/dev/null | sort -u)" = idle ] && exit 0
    sleep 0.5
  done
  echo "The sandbox did not start: see $folder/slurmctld.log and slurmd.*.log." >&2
  exit 1
  ;;
stop)
  SLURM_CONF=$folder/slurm.conf timeout 10 scancel --user=root && sleep 2 || true
  for node in pair1 pair2; do
    [ -f "$folder/host.$node.pid" ] || continue
    kill -KILL "$(cat "$folder/host.$node.pid")" || true # all of that host ends
    rm -f "$folder/host.$node.pid" "$folder/slurmd.$node.pid" # the latter has the host's own number of it
  done
  for daemon in "${nodes[@]/#/slurmd.}" slurmctld; do
    [ ! -f "$folder/$daemon.pid" ] || kill "$(cat "$folder/$daemon.pid")"
  done
  [ "$(readlink "$link")" != "$folder/slurm.conf" ] || rm "$link"
  ;;
*)
  sed -n '2,5s/^# *//p' "$0"
  exit 2
  ;;
esac
