#!/usr/bin/env bash
# Builds everything with warnings as errors and runs every test on a private stack of servers.
# The last line is "N passed, N failed, N skipped".
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"
# shellcheck source=lib/results.sh
. "$LIB/results.sh"
# shellcheck source=lib/runs.sh
. "$LIB/runs.sh"

usage() {
  cat <<'HELP'
usage: scripts/test.sh [--project NAME] [--filter EXPRESSION] [--runs only|none]

Installs missing Debian packages, starts Redis, RabbitMQ and PostgreSQL of its own (free ports, a folder of its own, gone afterwards), builds the
solution, publishes the hosts and runs every test project; then, on stacks of their own, a short spike and the three controls (scripts/load.sh check), the
commands of README.md and docs/ (scripts/docs.sh) and four fault rows with fixed seeds (scripts/chaos.sh), each of which counts as a test. Succeeds when something ran and nothing failed or was skipped. Several may run at once.

  --project NAME       only test projects whose name contains NAME          --filter EXPRESSION  as dotnet test --filter; with either no runs
  --runs only|none     only the runs, or none of them
  FLASHSALE_TEST_TIMEOUT (seconds, default 3600) bounds each project's tests.

When something failed, results and server logs are kept in .local/test-failed.
What the tests find in their environment:
  FLASHSALE_REDIS (host:port), FLASHSALE_POSTGRES (superuser), FLASHSALE_RABBITMQ (administrator)   URIs of the private servers
  FLASHSALE_PID_REDIS, FLASHSALE_PID_POSTGRES, FLASHSALE_PID_RABBITMQ                               as started; after a restart ask "$FLASHSALE_STACK_CTL pid NAME"
  FLASHSALE_STACK_CTL       start|stop|kill|restart|pid redis|rabbitmq|postgres (scripts/infra.sh)
  FLASHSALE_RABBITMQ_CTL    rabbitmqctl for the private node                   FLASHSALE_TEST_REDIS_BIN  redis-server, for servers of a test's own
  FLASHSALE_TEST_HOSTS      folder with the published hosts: api/ admin/ worker/ payments/
HELP
}

parse() {
  PROJECT='' FILTER=() RUNS=''
  while (($#)); do
    case $1 in
      --project) PROJECT=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      --filter) FILTER=(--filter "${2:-}"); shift $(($# > 1 ? 2 : 1)) ;;
      --runs) RUNS=${2:-}; [[ $RUNS =~ ^(only|none)$ ]] || fail '--runs must be only or none'; shift 2 ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; fail "unknown argument: $1" ;;
    esac
  done
  # A caller that names tests wants only those.
  [[ -n $RUNS || -z $PROJECT${FILTER[*]} ]] || RUNS=none
}

# ---- the private stack -----------------------------------------------------------------------------------------------

# free_base FIRST TRIES OFFSET…: prints a number from FIRST on, below the range that the kernel gives to clients, such
# that no process listens on it plus any OFFSET. The search begins at a place that depends on the pid, so that two runs
# at once do not meet.
free_base() {
  local first=$1 tries=$2 try base
  shift 2
  for ((try = 0; try < tries; try++)); do
    base=$((first + ($$ + try) % tries * 20))
    if [[ ! -d $ROOT/.local/$base ]] && all_free "$base" "$@"; then printf '%s' "$base"; return; fi
  done
  fail "no free block of ports was found"
}

all_free() {
  local base=$1 port
  shift
  for port; do ! listener $((base + port)) >/dev/null || return 1; done
}

# free_stack FIRST: prints a free base for a stack of up.sh: hosts, their management ports, servers, and proxies between
# them.
free_stack() { free_base "$1" 50 {0..6} 50 {100..104} {110..113} {1000..1006}; }

private_stack() {
  sweep
  use_stack "$ROOT/.local/test-$$" "$(free_base 12000 500 {100..104})"
  FLASHSALE_RUN_MARK=$(random_hex 8)
  export FLASHSALE_RUN_MARK
  lock_stack
  remember MARK "$FLASHSALE_RUN_MARK"
  # Sockets of test hosts live here, and their paths may have only 107 characters.
  SCRATCH=$(mktemp -d /tmp/flashsale-test-XXXXXX)
  # Under root, servers that tests start run as other users, which must be able to pass through this folder.
  chmod 0711 "$SCRATCH"
  remember SCRATCH "$SCRATCH"
  make_secrets
  INFRA=native
  remember INFRA native
}

launch_servers() {
  local name
  native_prepare
  for name in "${SERVERS[@]}"; do native_launch "$name"; done
  infra_script
}

await_servers() {
  local name
  for name in "${SERVERS[@]}"; do native_await "$name"; done
  write_addresses
  STEP_NOTE="ports from $((BASE + 100))"
}

test_environment() {
  local name
  for name in REDIS POSTGRES RABBITMQ PID_REDIS PID_POSTGRES PID_RABBITMQ; do export "FLASHSALE_$name=$(env_value "FLASHSALE_$name" "$STACK/env")"; done
  export FLASHSALE_STACK_CTL=$STACK/bin/infra FLASHSALE_RABBITMQ_CTL=$STACK/bin/rabbitmqctl FLASHSALE_TEST_HOSTS=$STACK/app
  FLASHSALE_TEST_REDIS_BIN=$(command -v redis-server)
  export FLASHSALE_TEST_REDIS_BIN TMPDIR=$SCRATCH
}

# ---- build and run ---------------------------------------------------------------------------------------------------

# The tests run from a copy, so that the next build of this checkout does not change them while they run.
build_all() {
  local name
  build_lock
  bounded 900 "$DOTNET" build "$ROOT/FlashSale.sln" "${BUILD_ARGS[@]}" -warnaserror 7>&- || fail "the build failed"
  publish "$STACK/app" || fail "publishing the hosts failed"
  for name in "${PROJECTS[@]}"; do
    install -d "$STACK/tests"
    cp -r "$BUILD/bin/$name/release" "$STACK/tests/$name"
  done
  build_unlock
}

test_projects() {
  local file name
  PROJECTS=()
  for file in "$ROOT"/tests/*/*.csproj; do
    name=$(basename "$file" .csproj)
    [[ $name != *"$PROJECT"* ]] || PROJECTS+=("$name")
  done
}

run_project() {
  local name=$1 code=0 log=$LOGS/$1.log
  bounded "${FLASHSALE_TEST_TIMEOUT:-3600}" setsid --wait "$DOTNET" test "$STACK/tests/$name/$name.dll" --logger "trx;LogFileName=$name.trx" --logger 'console;verbosity=normal' \
    --results-directory "$STACK/results" --blame-hang-timeout 15m --blame-hang-dump-type none "${FILTER[@]}" >"$log" 2>&1 || code=$?
  count_results "$STACK/results/$name.trx" "$code"
  STEP_NOTE="$PROJECT_PASSED passed, $PROJECT_FAILED failed, $PROJECT_SKIPPED skipped"
}

run_tests() {
  local name
  for name in "${PROJECTS[@]}"; do
    step tests "$name" run_project "$name"
    show_failures "$LOGS/$name.log"
  done
}

# ---- load and fault runs ---------------------------------------------------------------------------------------------

FAULT_ROWS=(kill-api kill-redis reset-postgres broker-queue-deleted)

run_runs() {
  step load 'a spike and the three controls' run_script load $(($(controls | wc -l) + 1)) "$ROOT/scripts/load.sh" check --port-base "$(free_stack 25000)"
  show_run load
  step docs 'the commands of README.md and docs/' run_script docs "$(($(doc_pages | wc -l) * 2))" "$ROOT/scripts/docs.sh" --port-base "$(free_stack 26000)"
  show_run docs
  step chaos "${FAULT_ROWS[*]}" run_script chaos "${#FAULT_ROWS[@]}" "$ROOT/scripts/chaos.sh" "${FAULT_ROWS[@]}" --seed 7 --port-base "$(free_stack 30000)" --result "$STACK/chaos.md"
  show_run chaos
}

# run_script NAME COUNT COMMAND…: runs a script that prints PASS for each of its COUNT runs that went as it should. All
# other runs count as failed.
run_script() {
  local log=$LOGS/$1.log count=$2
  shift 2
  # The script has servers of its own, so it must not see the addresses of the servers of this run.
  bounded "${FLASHSALE_TEST_TIMEOUT:-3600}" env -u FLASHSALE_REDIS -u FLASHSALE_POSTGRES -u FLASHSALE_RABBITMQ -u TMPDIR "$@" >"$log" 2>&1 || true
  PROJECT_PASSED=$(grep -cE '(^| )PASS( |$)' "$log") || true
  ((PROJECT_PASSED <= count)) || PROJECT_PASSED=0
  PROJECT_FAILED=$((count - PROJECT_PASSED))
  PASSED=$((PASSED + PROJECT_PASSED)) FAILED=$((FAILED + PROJECT_FAILED))
  STEP_NOTE="$PROJECT_PASSED passed, $PROJECT_FAILED failed"
}

show_run() { ((!PROJECT_FAILED)) || say "$(tail -n 60 "$LOGS/$1.log")"; }

# ---- afterwards ------------------------------------------------------------------------------------------------------

# Kills every process of this run at once, since its data are worth nothing. The processes are found by the recorded
# pids, by the mark in their environment, and by their working folder (a server that renames itself hides its
# environment).
end_run() {
  local mark=$1 name pid round
  for name in "${HOSTS[@]/%/-supervisor}" "${HOSTS[@]}" "${SERVERS[@]}" epmd; do
    if alive "$name"; then kill -KILL "$PID" 2>/dev/null || true; fi
  done
  for round in {1..50}; do
    marked=$(marked_processes "$mark")
    [[ -n $marked ]] || return 0
    for pid in $marked; do kill -KILL "$pid" 2>/dev/null || true; done
    sleep 0.1
  done
  echo "still running after $round attempts: $marked" >&4
}

marked_processes() {
  local file pid
  for file in /proc/[0-9]*/environ; do
    pid=${file//[^0-9]/}
    [[ $pid != "$$" && $pid != "$BASHPID" ]] || continue
    if belongs_to_run "$pid" "$1" && [[ $(stat_field "$pid" 3) != Z ]]; then echo "$pid"; fi
  done 2>/dev/null
}

belongs_to_run() {
  grep -qzx "FLASHSALE_RUN_MARK=$2" "/proc/$1/environ" || [[ $(readlink "/proc/$1/cwd") == "$STACK"/* || ( -n $SCRATCH && $(readlink "/proc/$1/cwd") == "$SCRATCH"* ) ]]
}

remove_stack() {
  wipe_data
  [[ -z $SCRATCH ]] || rm -rf "$SCRATCH"
  rm -rf "${STACK:?}"
}

# sweep: removes the remains of runs that were killed.
sweep() {
  local folder
  for folder in "$ROOT"/.local/test-[0-9]*; do
    [[ -d $folder && -O $folder ]] || continue
    exec 6>>"$folder/lock"
    if flock -n 6; then
      use_stack "$folder" "$DEFAULT_BASE"
      load_settings
      SCRATCH=${SETTING[SCRATCH]:-}
      [[ -z ${SETTING[MARK]:-} ]] || end_run "${SETTING[MARK]}"
      remove_stack
    fi
    exec 6>&-
  done
  SCRATCH=''
}

keep_evidence() {
  local kept=$ROOT/.local/test-failed
  rm -rf "$kept"
  install -d -m 0700 "$kept"
  cp -r "$LOGS" "$STACK/results" "$kept/" 2>/dev/null || true
  say "Results and logs are kept in $(relative "$kept")."
}

finish() {
  local code=$1
  trap '' INT TERM HUP
  [[ -z $RUNNING ]] || kill -TERM "$RUNNING" 2>/dev/null || true
  if [[ $code != 0 && -z $REPORTED ]]; then (fail "a command ended with status $code") || true; fi
  # A run that was broken off or never began counts as a failure, even if all tests before passed.
  [[ -n $COMPLETE ]] || FAILED=$((FAILED + 1))
  if [[ -n ${STACK:-} && -d $STACK ]]; then
    ((!FAILED)) || keep_evidence
    exec 9>&-
    end_run "$FLASHSALE_RUN_MARK"
    remove_stack
  fi
  say "$PASSED passed, $FAILED failed, $SKIPPED skipped"
  ((PASSED > 0 && FAILED == 0 && SKIPPED == 0)) || exit $((code ? code : 1))
}

main() {
  PASSED=0 FAILED=0 SKIPPED=0 COMPLETE='' SCRATCH='' FLASHSALE_RUN_MARK=''
  parse "$@"
  guard
  trap 'finish $?' EXIT
  install -d "$ROOT/.local"
  private_stack
  test_projects
  say "FlashSale: testing in $(relative "$STACK")"
  step dotnet 'SDK 10' ensure_dotnet
  step prepare 'packages' ensure_packages native
  # The tests put pgbouncer between a host and Postgres.
  [[ -x /usr/sbin/pgbouncer ]] || step prepare 'pgbouncer' install_packages pgbouncer
  step servers 'starting redis, rabbitmq, postgres' launch_servers
  step build 'the solution, warnings as errors' build_all
  step servers 'answering' await_servers
  test_environment
  [[ $RUNS == only ]] || run_tests
  [[ $RUNS == none ]] || run_runs
  COMPLETE=yes
}

main "$@"
