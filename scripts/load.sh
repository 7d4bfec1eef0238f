#!/usr/bin/env bash
# Drives a sale with a load, and accounts for every answer. See --help.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"
# shellcheck source=lib/runs.sh
. "$LIB/runs.sh"

usage() {
  cat <<'HELP'
usage: scripts/load.sh SCENARIO [--control oversell|lost-outbox|no-limit] [--rate N] [--duration S] [--target URL] [--port-base N] [OPTION…]
       scripts/load.sh --list     the scenarios, and what --rate and --duration mean to each
       scripts/load.sh check      a short spike, and the three controls: each must be caught
       scripts/load.sh plan --visitors N --window S --stock M […]     what an event needs, by measured figures

Makes a sale of its own (marked as a load run: it counts in no figure, and nobody downstream hears of its orders), loads and opens it, lets shoppers come,
closes it, and goes over every answer and both stores. Without --target that happens on a stack of its own, which is gone afterwards.

  --control NAME   the Api's reserve.lua is broken on purpose; the run must end with 1
  --target URL     the Api of a deployment that runs. Its other addresses, its stores and its secrets come from --env FILE (default .local/env) or the environment,
                   by the names that up.sh writes: FLASHSALE_ADMIN_URL, _WORKER_URL, _ADMIN_TOKEN, _JWT_KEY, _JWT_ISSUER, _JWT_AUDIENCE, _JWT_KID, _REDIS, _POSTGRES
  --port-base N    of the own stack, default 20080
  --warm-up S      how long others buy first, in a sale of their own (10)
  --rest S         how long to wait at the end for what is on its way (120)
  --thresholds FILE, --seed N, --report-folder FOLDER (default .local/load), --report-formats html,md,json

Exit status: 0 all held; 1 a promise or a threshold is broken; 2 the run says nothing (the generator fell behind, no rest); 64 not understood.
HELP
}

parse() {
  SCENARIO='' BROKEN='' TARGET='' ENV_FILE=$ROOT/.local/env BASE_ASKED=20080 PASSED_ON=()
  while (($#)); do
    case $1 in
      -h | --help) usage; exit 0 ;;
      --list) SCENARIO=--list; shift ;;
      --control) BROKEN=${2:-none}; shift $(($# > 1 ? 2 : 1)) ;;
      --target) TARGET=${2:-none}; shift $(($# > 1 ? 2 : 1)) ;;
      --env) ENV_FILE=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      --port-base) BASE_ASKED=${2:-none}; shift $(($# > 1 ? 2 : 1)) ;;
      -*) PASSED_ON+=("$1" "${2:-}"); shift $(($# > 1 ? 2 : 1)) ;;
      *) [[ -z $SCENARIO ]] || misused "one scenario at a time: $SCENARIO or $1"; SCENARIO=$1; shift ;;
    esac
  done
  [[ -n $SCENARIO ]] || misused 'no scenario is named'
  [[ -z $BROKEN || -f $ROOT/loadtests/controls/$BROKEN.patch ]] || misused "--control $BROKEN: there are $(controls | tr '\n' ' ')"
  [[ -z $BROKEN || -z $TARGET ]] || misused '--control breaks an Api of its own; it cannot be had with --target'
}

runner() { "$DOTNET" "$WORK/runner/FlashSale.LoadTests.dll" "$@"; }

# run_load ARGUMENT…: runs the load on the terminal. Sets CODE.
run_load() {
  CODE=0
  bounded 864000 "$DOTNET" "$WORK/runner/FlashSale.LoadTests.dll" run "$@" || CODE=$?
}

# ---- check: the part that scripts/test.sh runs -----------------------------------------------------------------------

# Prints a line per check, and the log of a run that did not go as it should.
checks() {
  local name failed=0
  for name in $(controls); do
    step control "$name" break_api "$name"
    check "control $name is caught as $(promise_of "$name")" 1 "violation: $(promise_of "$name"): " --rate 2000 --warm-up 0 --rest 30
  done
  step control 'the Api as it is' mend_api
  check 'a short spike keeps all promises' 0 'violations: none' --rate 8000 --warm-up 2
  ((!failed)) || exit 1
}

# check NAME CODE TEXT ARGUMENT…: runs a spike, which must exit with CODE and print TEXT.
check() {
  local what=$1 code=$2 text=$3
  shift 3
  run_load spike --env "$STACK/env" --no-reports "$@" >"$WORK/run.log" 2>&1
  if [[ $CODE == "$code" ]] && grep -qF "$text" "$WORK/run.log"; then say "  PASS      $what"; return; fi
  failed=1
  say "  FAIL      $what: exit status $CODE, expected $code and \"$text\""
  sed 's/^/    /' "$WORK/run.log" >&3
}

# ---- the whole -------------------------------------------------------------------------------------------------------

prepare() {
  WORK=$ROOT/.local/load.$$
  install -d "$WORK" "$ROOT/.local/load"
  STEP_LOG=$WORK/load.log
  CODE=0
  trap 'clean_up $?' EXIT
  step dotnet 'SDK 10' ensure_dotnet
  step runner 'building' build_runner "$WORK/runner"
}

clean_up() {
  end_running
  if [[ -n $OWN && $1 != 0 && -d $LOGS ]]; then
    rm -rf "$ROOT/.local/load-failed"
    install -d -m 0700 "$ROOT/.local/load-failed"
    cp -r "$LOGS/." "$STEP_LOG" "$ROOT/.local/load-failed/" && say "The hosts' and servers' logs are kept in .local/load-failed."
  fi
  [[ -z $OWN ]] || take_down_own_stack "$WORK/load.log"
  on_exit "$1"
  rm -rf "$WORK"
}

main() {
  OWN=''
  parse "$@"
  guard
  [[ $SCENARIO == --list || $SCENARIO == plan || -n $TARGET ]] || own_stack "$BASE_ASKED"
  prepare
  if [[ $SCENARIO == plan ]]; then
    runner plan "${PASSED_ON[@]}" >&3 2>&4 || CODE=$?
    REPORTED=yes
    exit "$CODE"
  fi
  if [[ $SCENARIO == --list ]]; then runner scenarios | awk -F '\t' '{ printf "%-16s %s\n", $1, $2 }' >&3; return; fi
  # Check the arguments now, and not after minutes of making a stack.
  if [[ $SCENARIO != check ]] && ! runner check "$SCENARIO" "${PASSED_ON[@]}" 2>&4; then
    REPORTED=yes
    exit 64
  fi
  if [[ -z $TARGET ]]; then
    OWN=yes ENV_FILE=$STACK/env
    # Variables of another stack in the environment would win over the env file of this one.
    unset FLASHSALE_{API_URL,ADMIN_URL,WORKER_URL,PAYMENTS_URL,ADMIN_TOKEN,JWT_KEY,JWT_ISSUER,JWT_AUDIENCE,JWT_KID,REDIS,REDIS_PASSWORD,POSTGRES}
    step stack "of its own, ports from $BASE" bring_up_own_stack
  else
    PASSED_ON+=(--target "$TARGET")
  fi
  if [[ $SCENARIO == check ]]; then checks; return; fi
  [[ -z $BROKEN ]] || step control "$BROKEN" break_api "$BROKEN"
  run_load "$SCENARIO" --env "$ENV_FILE" --report-folder "$ROOT/.local/load" "${PASSED_ON[@]}" >&3 2>&4
  # The runner has already said why.
  REPORTED=yes
  exit "$CODE"
}

main "$@"
