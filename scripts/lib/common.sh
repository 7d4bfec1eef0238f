# shellcheck shell=bash
# Shared by every script: messages and timed steps, deadlines, the stack's folder with its settings and lock, and the
# env file.
#
# A stack is one folder: .local (the default stack), .local/N (--port-base N) or .local/test-… (one test run):
#   env        addresses, secrets and pids for other programs; the file is there only while the stack is up
#   settings   the memory of the stack: port base, kind of servers, generated secrets
#   run/       one record per process      log/  one file per process      app/  the published hosts
#   data/      the servers' data (a link to /var/lib/flashsale/… where their users cannot reach this folder)
#   bin/       infra and rabbitmqctl, bound to this stack
# Open descriptors: 3 and 4 = the user's terminal (output, errors), 7 = the build lock, 9 = the stack's lock.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
LIB=$ROOT/scripts/lib
HOSTS=(api admin worker payments)
SERVERS=(redis rabbitmq postgres)
DEFAULT_BASE=8080

exec 3>&1 4>&2
STEP='' STEP_NOTE='' STEP_LOG='' REPORTED='' RUNNING=''

# ---- messages --------------------------------------------------------------------------------------------------------

say() { printf '%s\n' "$*" >&3; }

# fail REASON [LOG]: prints the step, the reason and the end of the log, and ends the script.
fail() {
  local why=$1 log=${2:-$STEP_LOG}
  REPORTED=yes
  [[ -z $STEP ]] || say ''
  {
    printf '\nFAILED%s: %s\n' "${STEP:+ at step \"$STEP\"}" "$why"
    if [[ -n $log && -s $log ]]; then
      printf 'log: %s, its last lines:\n' "$(relative "$log")"
      # Leave out the output of earlier steps.
      awk '/^--- / { text = "" } { text = text $0 "\n" } END { printf "%s", text }' "$log" | tail -n 15 | cut -c1-300 | sed 's/^/    /'
    fi
  } >&4
  exit 1
}

# guard: makes sure that the script neither ends silently nor leaves a command running. A command that failed without a
# message is reported with its step and log.
guard() {
  trap 'on_exit $?' EXIT
  trap 'stopped_by INT 130' INT
  trap 'stopped_by TERM 143' TERM
  trap 'stopped_by HUP 129' HUP
}

stopped_by() {
  REPORTED=yes
  printf '\nstopped by SIG%s%s\n' "$1" "${STEP:+ at step \"$STEP\"}" >&4 || true
  exit "$2"
}

# end_running: ends the command that bounded has started, before its stack is taken away. A fault run heals its faults
# first.
end_running() {
  [[ -n $RUNNING ]] || return 0
  kill -TERM "$RUNNING" 2>/dev/null || true
  wait "$RUNNING" 2>/dev/null || true
  RUNNING=''
}

on_exit() {
  [[ -z $RUNNING ]] || kill -TERM "$RUNNING" 2>/dev/null || true
  [[ $1 == 0 || -n $REPORTED ]] || (fail "a command ended with status $1") || true
}

# bounded SECONDS COMMAND…: runs a command with a time limit. A command that is asked to end has 20 s for it, or GRACE.
# It runs in the background, so that this script obeys a signal at once and not when the command is over.
bounded() {
  local code=0
  timeout --kill-after="${GRACE:-20}" "$@" 9>&- &
  RUNNING=$!
  wait "$RUNNING" || code=$?
  RUNNING=''
  [[ $code != 124 ]] || echo "took longer than $1 s: ${*:2}"
  return "$code"
}

relative() { printf '%s' "${1#"$ROOT"/}"; }

# Sets NOW to the time in milliseconds, without a process per call.
set_now() { local t=${EPOCHREALTIME/[.,]/}; NOW=$((t / 1000)); }

seconds_since() { set_now; printf '%d.%d' $(((NOW - $1) / 1000)) $(((NOW - $1) % 1000 / 100)); }

# step NAME TEXT COMMAND…: runs a function in this shell. Its output goes to the step log, its outcome (STEP_NOTE) and
# time to the user.
step() {
  local what=$2 began
  STEP=$1 STEP_NOTE=''
  shift 2
  set_now
  began=$NOW
  printf '  %-9s %s ... ' "$STEP" "$what" >&3
  printf -- '--- %(%F %T)T %s\n' -1 "$STEP" >>"$STEP_LOG"
  # The terminal stays on descriptor 3, and the output of tools goes to the log.
  "$@" >>"$STEP_LOG" 2>>"$STEP_LOG"
  say "${STEP_NOTE:-done} ($(seconds_since "$began") s)"
  STEP=''
}

# wait_until SECONDS COMMAND…: polls every 0.1 s until the command succeeds. Returns 1 when the time is over.
wait_until() {
  local end
  set_now
  end=$((NOW + $1 * 1000))
  shift
  until "$@"; do
    set_now
    ((NOW < end)) || return 1
    sleep 0.1
  done
}

have() { command -v "$1" >/dev/null 2>&1; }

# memory_kib: prints the memory of this machine in KiB.
memory_kib() { awk '/^MemTotal:/ { print $2 }' /proc/meminfo; }

# reachable_by USER PATH TEST: whether that user may do it (TEST is r, w or x). The check walks every parent as that
# user.
reachable_by() { setpriv --reuid "$1" --regid "$1" --init-groups test "-$3" "$2" 2>/dev/null; }

random_hex() { od -An -vtx1 -N"$1" /dev/urandom | tr -d ' \n'; }

# ---- the stack's folder ----------------------------------------------------------------------------------------------

# use_stack FOLDER BASE: makes everything after it concern this stack.
use_stack() {
  STACK=$1 BASE=$2
  DATA=$STACK/data LOGS=$STACK/log RUN=$STACK/run
  STEP_LOG=$LOGS/up.log
  declare -gA PORT=([api]=$BASE [admin]=$((BASE + 1)) [worker]=$((BASE + 2)) [payments]=$((BASE + 3))
    [redis]=$((BASE + 100)) [postgres]=$((BASE + 101)) [rabbitmq]=$((BASE + 102)) [rabbitmq-dist]=$((BASE + 103)) [epmd]=$((BASE + 104)))
}

# use_stack_of_base [BASE]: uses the default stack, or the one of --port-base.
use_stack_of_base() {
  local base=${1:-}
  [[ -z $base ]] || check_base "$base"
  if [[ -z $base || $base == "$DEFAULT_BASE" ]]; then use_stack "$ROOT/.local" "$DEFAULT_BASE"; else use_stack "$ROOT/.local/$base" "$base"; fi
}

check_base() {
  [[ $1 =~ ^[1-9][0-9]{3,4}$ && $1 -ge 1024 && $1 -le 64000 ]] || fail "--port-base $1: must be a number from 1024 to 64000"
}

# make_stack: makes the folder with its subfolders. Other users may pass through, as the servers' users must. Only the
# owner can read the secrets.
make_stack() {
  local dir
  for dir in "$ROOT/.local" "$STACK" "$LOGS" "$RUN" "$STACK/bin"; do
    [[ -d $dir ]] || install -d -m 0755 "$dir"
  done
  [[ -O $STACK ]] || fail "$(relative "$STACK") belongs to user $(stat -c %U "$STACK"): run this as that user, or remove the folder" /dev/null
  chmod 0711 "$STACK"
  chmod 0700 "$LOGS" "$RUN"
  : >>"$STEP_LOG"
}

# lock_stack: lets one script at a time work on a stack. A second one waits, and then finds nothing left to do.
lock_stack() {
  while :; do
    make_stack
    exec 9>>"$STACK/lock"
    if ! flock -n 9; then
      say "  another script (pid $(head -n1 "$STACK/lock")) is at work on $(relative "$STACK"); waiting for it"
      flock -w 600 9 || fail "the other script still holds $(relative "$STACK")/lock after 10 minutes"
    fi
    # During the wait the folder may have been wiped, and with it the lock that this script now holds.
    [[ ! $STACK/lock -ef /dev/fd/9 ]] || break
  done
  printf '%s\n' "$$" >"$STACK/lock"
  load_settings
  remember BASE "$BASE"
}

# ---- settings: the memory of a stack ---------------------------------------------------------------------------------

declare -A SETTING=()

load_settings() {
  local line
  SETTING=()
  [[ -f $STACK/settings ]] || return 0
  # IFS is not used here: read would drop the = at the end of a base64 secret.
  while read -r line; do [[ -z $line ]] || SETTING[${line%%=*}]=${line#*=}; done <"$STACK/settings"
}

# remember KEY VALUE: writes the setting to disk at once, so that a crash in the next line forgets nothing.
remember() {
  SETTING[$1]=$2
  write_private "$STACK/settings" all_settings
}

all_settings() {
  local key
  for key in "${!SETTING[@]}"; do printf '%s=%s\n' "$key" "${SETTING[$key]}"; done | sort
}

# write_private FILE COMMAND…: writes the output of the command to a file that only the owner can read. Readers see the
# old file or the new one, never half of it.
write_private() {
  local file=$1 new
  shift
  new=$(mktemp "$file.XXXXXX")
  "$@" >"$new"
  mv -f "$new" "$file"
}

# remember_once KEY COMMAND…: makes the value the first time only.
remember_once() {
  local key=$1 value
  shift
  [[ -z ${SETTING[$key]:-} ]] || return 0
  value=$("$@")
  remember "$key" "$value"
}

webhook_secret() { printf 'whsec_%s' "$(head -c 32 /dev/urandom | base64 -w0)"; }

make_secrets() {
  remember_once FLASHSALE_JWT_KEY random_hex 32
  remember_once FLASHSALE_ADMIN_TOKEN random_hex 32
  remember_once FLASHSALE_TICKET_KEY random_hex 32
  remember_once FLASHSALE_WEBHOOK_SECRET webhook_secret
  remember_once FLASHSALE_PAYMENTS_KEY random_hex 32
  remember_once FLASHSALE_POSTGRES_PASSWORD random_hex 16
  remember_once FLASHSALE_RABBITMQ_PASSWORD random_hex 16
  remember_once FLASHSALE_JWT_ISSUER echo flashsale
  remember_once FLASHSALE_JWT_AUDIENCE echo flashsale-shoppers
}

# ---- the env file, for other programs --------------------------------------------------------------------------------

# env_value KEY FILE: prints the value of a line KEY=value.
env_value() { sed -n "s/^$1=//p" "$2" | head -n1; }

# plain VALUE: prints the value as it is when a shell reads it back unchanged, else in single quotes (an external URI
# may hold & or ;).
plain() {
  if [[ $1 =~ ^[A-Za-z0-9_.,:/?%=@+~-]*$ ]]; then printf '%s' "$1"; else printf "'%s'" "${1//\'/\'\\\'\'}"; fi
}

# env_set KEY VALUE [KEY VALUE…]: replaces these lines and keeps the others. Supervisors and scripts write too, so they
# take turns.
env_set() {
  (
    exec 8>>"$RUN/env.lock"
    flock 8
    write_private "$STACK/env" env_with "$@"
  )
}

env_with() {
  local lines=''
  [[ ! -f $STACK/env ]] || lines=$(<"$STACK/env")
  while (($# > 1)); do
    lines=$(grep -v "^$1=" <<<"$lines" || true)$'\n'$1=$(plain "$2")
    shift 2
  done
  grep . <<<"$lines" | sort
}

# env_pid NAME PID: writes the pid only while the env file is there, since a stack that is down has no env file.
env_pid() { [[ ! -f $STACK/env ]] || env_set "FLASHSALE_PID_${1^^}" "$2"; }
