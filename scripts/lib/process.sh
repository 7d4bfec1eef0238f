# shellcheck shell=bash
# Processes of a stack: started detached, remembered by pid and identity, and stopped by pid. They are never stopped by
# name, since other stacks run the same programs.

# ---- identity --------------------------------------------------------------------------------------------------------

# stat_field PID N: prints a field of /proc/PID/stat, counted from 3 (state). The name before it may hold spaces and
# brackets.
stat_field() {
  local line
  { line=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  read -r -a line <<<"${line##*) }"
  printf '%s' "${line[$2 - 3]}"
}

# The kernel may have given a pid to another process since. So a record holds the identity of the process: pid, start
# time, boot, and the inode of the stack's folder (a copied folder must not stop the processes of the original).
fingerprint() { printf '%s %s %s %s\n' "$1" "$(stat_field "$1" 22)" "$(</proc/sys/kernel/random/boot_id)" "$(stat -c %d:%i "$STACK")"; }

record_pid() { fingerprint "$2" >"$RUN/$1.pid.$BASHPID" && mv -f "$RUN/$1.pid.$BASHPID" "$RUN/$1.pid"; }

# alive NAME: whether the recorded process is there and still the one that was recorded. Sets PID. A zombie counts as
# dead.
alive() {
  local record state
  PID=''
  [[ -f $RUN/$1.pid ]] || return 1
  record=$(<"$RUN/$1.pid")
  state=$(stat_field "${record%% *}" 3) || return 1
  [[ $state != Z && $state != X && $record == "$(fingerprint "${record%% *}" 2>/dev/null)" ]] || return 1
  PID=${record%% *}
}

gone() { ! alive "$1"; }

# ---- start -----------------------------------------------------------------------------------------------------------

# server_user NAME: prints the user that runs a server. Root starts it as the user that its package made, others start
# it as themselves.
server_user() { if [[ $EUID == 0 ]]; then echo "$1"; else id -un; fi; }

# launch NAME USER FOLDER COMMAND…: starts a program detached from this script, its terminal, its descriptors and its
# environment. LAUNCH_ENV holds the variables that it gets beside the basics. They are not passed as arguments, which
# everyone can read.
# The record is written before the program runs, so that no crash of this script leaves an unknown server.
launch() {
  local name=$1 user=$2 dir=$3 log=$LOGS/$1.log
  local -a as=()
  shift 3
  [[ $user == "$(id -un)" ]] || as=(setpriv --reuid "$user" --regid "$user" --init-groups)
  [[ ! -f $log || $(stat -c %s "$log") -lt 50000000 ]] || mv -f "$log" "$log.1"
  (
    record_pid "$name" "$BASHPID"
    cd "$dir" || exit
    bare_environment "$dir" "${LAUNCH_ENV[@]}"
    raise_file_limit
    exec </dev/null >>"$log" 2>&1 3>&- 4>&- 7>&- 9>&-
    exec setsid "${as[@]}" "$@"
  ) &
  LAUNCHED=$!
  # The shell must print nothing when the process ends.
  disown "$LAUNCHED"
  LAUNCH_ENV=()
  wait_until 5 recorded "$name" "$LAUNCHED" || fail "$name could not be started" "$log"
}

LAUNCH_ENV=()

# The usual soft limit of a thousand open files is too low for the connections of one evening. The usual hard limit of
# millions slows Erlang down.
raise_file_limit() {
  local hard
  hard=$(ulimit -Hn)
  [[ $hard != unlimited && $hard -lt 65536 ]] || hard=65536
  ulimit -Sn "$hard"
}

bare_environment() {
  local name path=$PATH mark=${FLASHSALE_RUN_MARK:-} home=$1
  shift
  for name in $(compgen -e); do export -n "${name?}"; done
  # shellcheck disable=SC2163 # these are NAME=value
  export "PATH=$path" "HOME=$home" "LC_ALL=C.UTF-8" "$@"
  [[ -z $mark ]] || export "FLASHSALE_RUN_MARK=$mark"
}

recorded() { [[ -f $RUN/$1.pid && $(<"$RUN/$1.pid") == "$2 "* ]]; }

# own_folder USER FOLDER: makes a folder that is private to that user.
own_folder() {
  if [[ $EUID == 0 ]]; then install -d -o "$1" -g "$(id -gn "$1")" -m 0700 "$2"; else install -d -m 0700 "$2"; fi
}

# await_server NAME SECONDS READY: waits until the server answers. A server that dies meanwhile is reported at once.
await_server() {
  local name=$1 seconds=$2 ready=$3
  wait_until "$seconds" answered_or_dead "$name" "$ready" || fail "$name runs but did not answer within $seconds s" "$LOGS/$name.log"
  alive "$name" || fail "$name stopped while it was starting" "$LOGS/$name.log"
}

answered_or_dead() { "$2" || gone "$1"; }

# ---- stop ------------------------------------------------------------------------------------------------------------

# stop_process NAME SIGNAL SECONDS: sends the signal, and SIGKILL when the time is over. Sets STOPPED to the outcome.
stop_process() {
  local name=$1
  STOPPED='was not running'
  if alive "$name"; then
    STOPPED='stopped'
    kill "-$2" "$PID" 2>/dev/null || true
    if ! wait_until "$3" gone "$name"; then
      STOPPED="did not stop within $3 s, killed"
      if alive "$name"; then kill -KILL "$PID" 2>/dev/null || true; fi
      wait_until 10 gone "$name" || fail "pid $PID ($name) cannot be killed"
    fi
  fi
  rm -f "$RUN/$name.pid"
}

# ---- ports -----------------------------------------------------------------------------------------------------------

# listener PORT: prints the inode of the socket that listens there. Returns 1 when the port is free.
listener() {
  local hex
  printf -v hex '%04X' "$1"
  awk -v port=":$hex$" '$4 == "0A" && $2 ~ port { print $10; found = 1; exit } END { exit !found }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# check_port NAME [NUMBER]: fails with the name of the holder when another process has the port.
check_port() {
  local inode port=${2:-${PORT[$1]}}
  inode=$(listener "$port") || return 0
  fail "port $port ($1) is taken by $(holder "$inode"). Stop it, or give this stack other ports: --port-base N" /dev/null
}

holder() {
  local fd pid
  for fd in /proc/[0-9]*/fd/*; do
    [[ $(readlink "$fd" 2>/dev/null) == "socket:[$1]" ]] || continue
    pid=${fd#/proc/}
    pid=${pid%%/*}
    printf 'pid %s (%s)' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-80)"
    return
  done
  printf 'a process of another user'
}
