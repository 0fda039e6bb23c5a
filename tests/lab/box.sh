#!/bin/sh
# The inside of a lab host: runs as the first process of new network, mount, UTS and PID namespaces (tests/lab/lab.py and
# scripts/demo start it), makes /run, /etc, /var and /opt the host's own, says "ready", and stays until its input closes.
#
#   unshare --net --mount --uts --pid --fork --kill-child --mount-proc --propagation private box.sh NAME
set -eu
# Orphans of this host's process tree vanish by themselves.
trap '' CHLD
mount -t tmpfs -o mode=755,size=2g firn-lab /run
mkdir -p /run/lock /run/lab
# The machine's files show through; what is written stays in memory and goes with the host.
for top in etc var opt; do
  mkdir -p "/run/lab/$top.upper" "/run/lab/$top.work"
  mount -t overlay -o "lowerdir=/$top,upperdir=/run/lab/$top.upper,workdir=/run/lab/$top.work" firn-lab "/$top"
done
for folder in /etc/firn /etc/cni /etc/frr /etc/bird /var/lib/firn /var/lib/cni /var/lib/containers /var/lib/containerd /var/log /opt/cni; do
  mkdir -p "$folder"
  mount -t tmpfs -o mode=755 firn-lab "$folder"
done
mkdir -p /etc/cni/net.d /opt/cni/bin
printf '%s' "$1" >/proc/sys/kernel/hostname
ip link set lo up
echo ready
exec cat
