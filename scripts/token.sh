#!/usr/bin/env bash
# usage: scripts/token.sh [--port-base N] USER [SECONDS]
# Prints a token of that shopper for the stack that up.sh started, good for a week or for SECONDS.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"

main() {
  case ${1:-} in
    --port-base) use_stack_of_base "${2:-none}"; shift $(($# > 1 ? 2 : 1)) ;;
    *) use_stack_of_base ;;
  esac
  [[ $# == [12] && $1 != -* ]] || { sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
  [[ $1 =~ ^[[:graph:]]{1,255}$ && $1 != *[\"\\]* ]] || fail "USER must be 1 to 255 visible ASCII characters without quotes and backslashes"
  [[ ${2:-1} =~ ^[1-9][0-9]{0,8}$ ]] || fail "SECONDS must be a number from 1 to 999999999"
  guard
  load_settings
  [[ -n ${SETTING[FLASHSALE_JWT_KEY]:-} ]] || fail "there is no stack in $(relative "$STACK"); run scripts/up.sh first"
  say "$(shopper_token "$1" "${2:-604800}")"
}

main "$@"
