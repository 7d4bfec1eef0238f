#!/usr/bin/env bash
# Breaks every component in turn while a sale runs, and checks the promises each time. See --help.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"
# shellcheck source=lib/runs.sh
. "$LIB/runs.sh"

usage() {
  cat <<'HELP'
usage: scripts/chaos.sh ROW… | --all [--seeds N] [--seed S] [--port-base N] [--result FILE]
       scripts/chaos.sh --list

Brings up a stack of its own (--port-base, default 19080) whose hosts reach Redis, RabbitMQ and PostgreSQL through small TCP proxies, and runs each row:
a sale of its own under load, the fault at a moment drawn from the seed, its end, the recovery, and a verdict over every answer and both stores.
Takes the stack down and writes a table: of --all into loadtests/results/<date>-chaos.md, of single rows into .local/chaos. A row takes 15 to 40 s. Rows that fill a disk mount small memory file systems, which
only root may; for others they are inconclusive. Broken off, it heals what is broken and takes everything down.

  --result FILE   writes the table there
  --seeds N       runs each row with N seeds (default 1): S, S + 1 and so on
  --seed S        the first of them (default 1); the same seed means the same moment, and the same choices where a row has any

Exit status: 0 every promise held; 1 one is broken; 2 a row is inconclusive (its fault did not take hold, or the run could not be judged); 64 not understood.
HELP
}

parse() {
  BASE_ASKED=19080 SEEDS=1 SEED=1 ROWS=() LIST='' RESULT=''
  while (($#)); do
    case $1 in
      --all) ROWS+=(--all); shift ;;
      --list) LIST=yes; shift ;;
      --seeds) SEEDS=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      --seed) SEED=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      --result) RESULT=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      --port-base) BASE_ASKED=${2:-none}; shift $(($# > 1 ? 2 : 1)) ;;
      -h | --help) usage; exit 0 ;;
      -*) misused "unknown argument: $1" ;;
      *) ROWS+=("$1"); shift ;;
    esac
  done
  [[ $SEEDS =~ ^[1-9][0-9]{0,3}$ ]] || misused "--seeds $SEEDS: must be a number from 1 to 9999"
  [[ $SEED =~ ^[0-9]{1,9}$ ]] || misused "--seed $SEED: must be a number from 0 to 999999999"
  [[ -n $LIST || ${#ROWS[@]} -gt 0 ]] || misused 'no row is named'
}

runner() { "$DOTNET" "$WORK/runner/FlashSale.LoadTests.dll" chaos "$@"; }

# The runner brings the stack up once its proxies listen. The addresses that it gives to the hosts hold the secrets, so
# they are made here.
prepare_stack() {
  lock_stack
  make_secrets
  exec 9>&-
  [[ $EUID != 0 ]] || compgen -G '/usr/lib/*-linux-gnu/faketime/libfaketimeMT.so.1' >/dev/null || install_packages libfaketime
}

# about: prints the head of the table.
about() {
  printf '# Fault runs, %s\n\n' "$(date -u +'%F %T UTC')"
  printf '%s; .NET %s; load and all servers on this machine\n' "$(hardware)" "$("$DOTNET" --version)"
  printf 'Commit: %s\n' "$(commit)"
  # shellcheck disable=SC2016 # Markdown
  printf 'Run again: `./scripts/chaos.sh %s --seed %s --seeds %s`\n' "${ROWS[*]}" "$SEED" "$SEEDS"
}

take_down() {
  local mounted
  end_running
  [[ ! -d $STACK ]] || "$ROOT/scripts/down.sh" --port-base "$BASE" >>"$WORK/chaos.log" 2>&1 || true
  # A run that was killed leaves its mounts behind.
  while read -r mounted; do umount "$mounted" || true; done < <(awk -v data="$(readlink -f "$DATA" || true)/" 'index($2, data) == 1 { print $2 }' /proc/mounts)
  if [[ $1 != 0 && -d $LOGS ]]; then
    install -d -m 0700 "$ROOT/.local/chaos-failed"
    cp -r "$LOGS/." "$ROOT/.local/chaos-failed/" && say "Logs and histories are kept in .local/chaos-failed."
  fi
  take_down_own_stack "$WORK/chaos.log"
  rm -rf "$WORK"
}

main() {
  local code=0
  parse "$@"
  WORK=$ROOT/.local/chaos.$$
  install -d "$WORK" "$ROOT/loadtests/results"
  STEP_LOG=$WORK/chaos.log
  guard
  trap 'rm -rf "$WORK"; on_exit $?' EXIT
  step dotnet 'SDK 10' ensure_dotnet
  step runner 'building' build_runner "$WORK/runner"
  if [[ -n $LIST ]]; then runner --list >&3; exit 0; fi
  runner --check "${ROWS[@]}" >&3 2>&4 || { REPORTED=yes; exit 64; }
  own_stack "$BASE_ASKED"
  trap 'code=$?; take_down "$code"; on_exit "$code"' EXIT
  STEP_LOG=$WORK/chaos.log step prepare 'secrets, packages' prepare_stack
  about >"$WORK/about"
  # Only the table of all rows goes into loadtests/results.
  [[ -n $RESULT || ${ROWS[*]} != --all ]] || printf -v RESULT '%s/loadtests/results/%(%F)T-chaos.md' "$ROOT" -1
  [[ -n $RESULT ]] || { install -d "$ROOT/.local/chaos"; printf -v RESULT '%s/.local/chaos/%(%F-%H%M%S)T.md' "$ROOT" -1; }
  GRACE=180 bounded 86400 "$DOTNET" "$WORK/runner/FlashSale.LoadTests.dll" chaos --root "$ROOT" --stack "$STACK" --port-base "$BASE" --about "$WORK/about" --result "$RESULT" \
    --seed "$SEED" --seeds "$SEEDS" "${ROWS[@]}" >&3 2>&4 || code=$?
  [[ ! -f $RESULT ]] || say "written to $(relative "$RESULT")"
  REPORTED=yes
  exit "$code"
}

main "$@"
