#!/usr/bin/env bash
# usage (as root): install-packages.sh PACKAGE…
# Installs Debian packages for their programs only: no service is started, now or at the next boot, and no database
# cluster is made. The files that this script puts in place for that are taken away again.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

POLICY=/usr/sbin/policy-rc.d
SAVED=$POLICY.flashsale-saved
NO_CLUSTER_DIR=/etc/postgresql-common/createcluster.d
NO_CLUSTER=$NO_CLUSTER_DIR/zz-flashsale.conf

# Debian asks policy-rc.d before it starts a service. Exit status 101 means no.
forbid_services() {
  # A run that was killed may have left its own policy file behind. Then the saved file is that of the machine.
  [[ ! -e $POLICY || -e $SAVED || -f $POLICY.flashsale-absent ]] || mv "$POLICY" "$SAVED"
  [[ -e $SAVED ]] || touch "$POLICY.flashsale-absent"
  printf '#!/bin/sh\nexit 101\n' >"$POLICY"
  chmod 755 "$POLICY"
}

restore() {
  rm -f "$POLICY" "$POLICY.flashsale-absent" "$NO_CLUSTER"
  [[ ! -e $SAVED ]] || mv "$SAVED" "$POLICY"
  [[ ! -d $NO_CLUSTER_DIR ]] || rmdir --ignore-fail-on-non-empty "$NO_CLUSTER_DIR"
}

forbid_cluster() {
  mkdir -p "$NO_CLUSTER_DIR"
  printf 'create_main_cluster = false\n' >"$NO_CLUSTER"
}

# The packages enable their services for the next boot, which nobody asked for.
disable_services() {
  local package
  [[ -d /run/systemd/system ]] || return 0
  for package in "$@"; do
    case $package in redis-server | rabbitmq-server | postgresql | pgbouncer) systemctl disable --quiet "$package" || true ;; esac
  done
}

[[ $EUID == 0 ]] || { echo "install-packages.sh: run this as root" >&2; exit 1; }
exec 7>>/run/lock/flashsale-packages.lock
flock -w 600 7
trap restore EXIT
trap 'exit 1' INT TERM HUP
forbid_services
forbid_cluster
# Old lists name package versions that the mirror no longer has, so they are always refreshed. When that fails, the old
# lists may still do.
apt-get update -q 7>&- || echo "apt-get update failed; trying with the lists that are there"
apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" 7>&-
disable_services "$@"
