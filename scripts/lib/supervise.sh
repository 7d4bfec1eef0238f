#!/usr/bin/env bash
# usage: supervise.sh STACK HOST DOTNET DLL   (started by up.sh; the host's settings are in the environment)
# Runs a host and starts it again when it dies: after 0.2 s, and later and later, up to 30 s, while it dies at once
# again and again.
# SIGTERM stops the host gracefully and ends this script. The script also ends when the host refuses its settings, since
# another start would not change them.
. "$(dirname "$0")/common.sh"
. "$LIB/process.sh"
STACK=$1 HOST=$2 DOTNET=$3 DLL=$4
RUN=$STACK/run LOG=$STACK/log/$HOST.log
CHILD='' STOPPING='' DEATHS=0
BAD_CONFIGURATION=78   # sysexits' EX_CONFIG, see Platform/HostRunner.cs

note() { printf '%(%FT%T)T supervisor: %s\n' -1 "$*" >>"$LOG"; }

stop() {
  STOPPING=yes
  [[ -z $CHILD ]] || kill -TERM "$CHILD" 2>/dev/null || true
}

# wait returns early when a signal arrives, so this asks again until the child is really gone.
await_child() {
  CODE=0
  wait "$CHILD" || CODE=$?
  while kill -0 "$CHILD" 2>/dev/null; do CODE=0; wait "$CHILD" || CODE=$?; done
}

run_host() {
  local began
  set_now
  began=$NOW
  "$DOTNET" "$DLL" >>"$LOG" 2>&1 &
  CHILD=$!
  record_pid "$HOST" "$CHILD"
  env_pid "$HOST" "$CHILD"
  # A stop that came between the fork and here found no child, so it is repeated.
  [[ -z $STOPPING ]] || stop
  await_child
  set_now
  # A host that lived for 10 s has earned a quick restart.
  if ((NOW - began > 10000)); then DEATHS=0; else DEATHS=$((DEATHS + 1)); fi
}

pause() {
  local tenths=2 i
  for ((i = 1; i < DEATHS && tenths < 300; i++)); do tenths=$((tenths * 2)); done
  ((tenths <= 300)) || tenths=300
  note "$HOST (pid $CHILD) ended with status $CODE; starting it again in $((tenths / 10)).$((tenths % 10)) s"
  sleep "$((tenths / 10)).$((tenths % 10))" &
  wait $! || true
}

trap stop TERM INT
trap '' HUP
while [[ -z $STOPPING ]]; do
  run_host
  [[ $CODE != "$BAD_CONFIGURATION" ]] || break
  [[ -n $STOPPING ]] || pause
done
note "$HOST stopped (status $CODE)"
rm -f "$RUN/$HOST.pid"
