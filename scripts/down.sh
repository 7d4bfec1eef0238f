#!/usr/bin/env bash
# Stops the stack that up.sh started: by pid, gracefully first. Data and secrets stay unless --wipe is given.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"

usage() {
  cat <<'HELP'
usage: scripts/down.sh [--wipe] [--port-base N]

  --wipe         also removes the stack's data, secrets, logs and published hosts
  --port-base N  the stack that up.sh --port-base N started
HELP
}

parse() {
  WIPE='' BASE_ASKED=''
  while (($#)); do
    case $1 in
      --wipe) WIPE=wipe; shift ;;
      --port-base) BASE_ASKED=${2:-none}; shift $(($# > 1 ? 2 : 1)) ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; fail "unknown argument: $1" ;;
    esac
  done
}

host_step() { step "$1" stopping told stop_host "$1"; }

stop_all() {
  stop_hosts host_step
  rm -f "$STACK/env"
  [[ -z $INFRA ]] || stop_servers "$WIPE"
}

# Removes the folders by name, because other stacks and the build live in folders inside the folder of the default
# stack.
wipe() {
  [[ $INFRA != native ]] || wipe_data
  rm -rf "${STACK:?}"/{app,app.next,bin,run,log,settings,compose.env,buy.sh,lock} "$STACK"/{env,settings,compose.env}.??????
  rmdir --ignore-fail-on-non-empty "$STACK"
}

main() {
  parse "$@"
  use_stack_of_base "$BASE_ASKED"
  [[ -d $STACK/run ]] || { say "There is no stack in $(relative "$STACK"): nothing to do."; exit 0; }
  guard
  lock_stack
  INFRA=${SETTING[INFRA]:-}
  say "FlashSale: stopping the stack in $(relative "$STACK")"
  stop_all
  if [[ -n $WIPE ]]; then
    STEP_LOG=''
    wipe
    say "Stopped, and its data removed."
  else
    say "Stopped. Its data are kept; scripts/up.sh continues with them, --wipe removes them."
  fi
}

main "$@"
