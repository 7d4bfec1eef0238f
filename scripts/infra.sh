#!/usr/bin/env bash
# usage: scripts/infra.sh [--port-base N | --stack FOLDER] start|stop|kill|restart|pid redis|rabbitmq|postgres
#   start    starts the server with its data and returns when it answers; nothing when it runs
#   stop     stops it gracefully          kill   SIGKILL, returns when it is gone          restart   stop, start
#   pid      prints its pid (nothing when it does not run); start and restart print it too
# For fault runs. A stack of native servers has this command bound to itself: bin/infra in its folder, in tests $FLASHSALE_STACK_CTL. The pids in the
# stack's env file follow. Exit status 0 when it is as asked.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"

native_kill() {
  alive "$1" || return 0
  kill -KILL "$PID"
  wait_until 20 gone "$1" || fail "$1 (pid $PID) survives SIGKILL"
}

docker_start() { docker_await "$1"; }
docker_stop() { compose stop --timeout 60 "$1"; }
docker_kill() { compose kill --signal SIGKILL "$1"; }

native_start() {
  native_prepare
  native_launch "$1"
  native_await "$1"
}

native_stop() { "$1_stop"; }

act() {
  case $1 in
    start) "${INFRA}_start" "$2" ;;
    stop | kill) "${INFRA}_$1" "$2" ;;
    restart) "${INFRA}_stop" "$2"; "${INFRA}_start" "$2" ;;
    pid) ;;
  esac >>"$STEP_LOG" 2>&1
  env_pid "$2" "$("${INFRA}_pid" "$2")"
}

main() {
  case ${1:-} in
    --stack) use_stack "$2" "$(env_value BASE "$2/settings")"; shift 2 ;;
    --port-base) use_stack_of_base "$2"; shift 2 ;;
    *) use_stack_of_base ;;
  esac
  [[ $# == 2 && $1 =~ ^(start|stop|kill|restart|pid)$ && $2 =~ ^(redis|rabbitmq|postgres)$ ]] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
  guard
  load_infra
  [[ $INFRA != external ]] || fail "the servers of this stack are external; they are not ours to $1"
  act "$1" "$2"
  case $1 in start | restart | pid) "${INFRA}_pid" "$2" && echo ;; esac
}

main "$@"
