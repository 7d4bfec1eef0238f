#!/usr/bin/env bash
# usage: scripts/demo.sh
# Opens a demo sale in the stack that "docker compose up" started with the .env of compose-env.sh (or finds it again), and prints a curl that buys.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"

main() {
  local folder=$ROOT/.local/compose
  [[ $# == 0 ]] || { sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"; exit 2; }
  [[ -f $folder/settings ]] || fail "run scripts/compose-env.sh and docker compose up -d --wait first"
  use_stack "$folder" "$(env_value BASE "$folder/settings")"
  guard
  lock_stack
  step demo 'a sale to buy from' demo_step
  say ''
  say "$(tail -n +2 "$STACK/buy.sh")"
}

main "$@"
