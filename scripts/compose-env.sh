#!/usr/bin/env bash
# Makes the .env that docker-compose.yml needs: generated secrets, and ports. See --help.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"

usage() {
  cat <<'HELP'
usage: scripts/compose-env.sh [--port-base N]

Writes .env with generated secrets for docker-compose.yml, so that "docker compose up -d --wait" works. Run again it keeps the secrets (the volumes
know them) and changes only the ports: Api N, Admin N+1, Worker N+2, payment sandbox N+3, servers from N+100. Default 8080.
HELP
}

MARK='# Made by scripts/compose-env.sh. Secrets: not for the repository.'

# The secrets of an existing .env win, since the databases in the volumes were made with them.
adopt_env_file() {
  local name value
  [[ -f $ROOT/.env ]] || return 0
  [[ $(head -n1 "$ROOT/.env") == "$MARK" ]] || fail ".env is there and was not made by this script; move it away, or add the variables that docker-compose.yml names"
  for name in FLASHSALE_{JWT_KEY,JWT_ISSUER,JWT_AUDIENCE,TICKET_KEY,WEBHOOK_SECRET,PAYMENTS_KEY,ADMIN_TOKEN,POSTGRES_PASSWORD,RABBITMQ_PASSWORD}; do
    value=$(env_value "$name" "$ROOT/.env")
    [[ -z $value ]] || remember "$name" "$value"
  done
}

marked_compose_env() { printf '%s\n' "$MARK"; compose_env; }

main() {
  local base=$DEFAULT_BASE
  case ${1:-} in
    '') ;;
    --port-base) base=${2:-none} ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown argument: $1" ;;
  esac
  check_base "$base"
  use_stack "$ROOT/.local/compose" "$base"
  guard
  lock_stack
  adopt_env_file
  make_secrets
  write_private "$ROOT/.env" marked_compose_env
  say ".env is ready: docker compose up -d --wait, then scripts/demo.sh for a sale to buy from (Api on 127.0.0.1:$base)"
}

main "$@"
