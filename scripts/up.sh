#!/usr/bin/env bash
# Brings the whole of FlashSale up on this machine. When run again it brings back missing parts. See --help.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"

usage() {
  cat <<'HELP'
usage: scripts/up.sh [--infra native|docker|external] [--port-base N] [--no-demo]

Starts Redis, RabbitMQ and PostgreSQL, builds the hosts, starts them under supervision, opens a demo sale and prints a curl that buys.
Run again it brings back what is missing, and takes over changed sources. Everything lives in .local (with --port-base N in .local/N);
.local/env holds addresses, secrets and pids as KEY=value lines. scripts/down.sh stops it.

  --infra native     Debian packages (installed when missing, as root or through sudo), private instances on 127.0.0.1
  --infra docker     the three servers of docker-compose.yml, in a project of their own
  --infra external   servers of yours: FLASHSALE_REDIS (host:port, and FLASHSALE_REDIS_PASSWORD), FLASHSALE_POSTGRES, FLASHSALE_RABBITMQ (URIs)
                     in the environment
                     Without --infra: what the stack already has; else docker when an engine answers and has or gets the images; else native.
  --port-base N      a stack of its own: Api N, Admin N+1, Worker N+2, payment sandbox N+3 (management ports 1000 above them), servers from N+100. Default 8080.
  --no-demo          no demo sale

A setting of the hosts may be given in the environment: Section__Name=value scripts/up.sh. It holds for this stack until another value is given;
Section__Name= takes it back. A running host is not stopped for settings that it could not start with.
HELP
}

parse() {
  KIND='' BASE_ASKED='' DEMO=yes
  while (($#)); do
    case $1 in
      --infra) KIND=${2:-}; [[ $KIND =~ ^(native|docker|external)$ ]] || fail "--infra must be native, docker or external"; shift 2 ;;
      --port-base) BASE_ASKED=${2:-none}; shift $(($# > 1 ? 2 : 1)) ;;
      --no-demo) DEMO=''; shift ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; fail "unknown argument: $1" ;;
    esac
  done
}

prepare() {
  choose_infra "$KIND"
  ensure_packages "$([[ $INFRA == native ]] && echo native || echo other)"
  "${INFRA}_prepare"
  remember INFRA "$INFRA"
  # Check the ports now, and not after minutes of building.
  check_host_ports
  STEP_NOTE="$INFRA servers$INFRA_NOTE; packages: $STEP_NOTE"
}

# The servers start before the build and are awaited after it, since both take a while on a fresh machine.
launch_servers() {
  local name
  for name in "${SERVERS[@]}"; do "${INFRA}_launch" "$name"; done
}

await_servers() {
  local name
  for name in "${SERVERS[@]}"; do step "$name" 'answering' "${INFRA}_await" "$name"; done
}

write_env() {
  env_set FLASHSALE_API_URL "http://127.0.0.1:${PORT[api]}" FLASHSALE_ADMIN_URL "http://127.0.0.1:${PORT[admin]}" \
    FLASHSALE_WORKER_URL "http://127.0.0.1:${PORT[worker]}" FLASHSALE_PAYMENTS_URL "http://127.0.0.1:${PORT[payments]}" \
    FLASHSALE_ADMIN_TOKEN "${SETTING[FLASHSALE_ADMIN_TOKEN]}" FLASHSALE_JWT_KEY "${SETTING[FLASHSALE_JWT_KEY]}" FLASHSALE_JWT_KID "$JWT_KID" \
    FLASHSALE_JWT_ISSUER "${SETTING[FLASHSALE_JWT_ISSUER]}" FLASHSALE_JWT_AUDIENCE "${SETTING[FLASHSALE_JWT_AUDIENCE]}" \
    FLASHSALE_WEBHOOK_SECRET "${SETTING[FLASHSALE_WEBHOOK_SECRET]}"
  write_addresses
}

summary() {
  local env
  env=$(relative "$STACK/env")
  say ''
  if [[ -n $CHANGED ]]; then say "FlashSale is up after $(seconds_since "$BEGAN") s."; else say "Everything was already up: nothing to do."; fi
  say "  shop    http://127.0.0.1:${PORT[api]}/api/v1/sales      API description: /openapi/v1.json
  admin   http://127.0.0.1:${PORT[admin]}/openapi/v1.json       token: FLASHSALE_ADMIN_TOKEN in $env
  pay     POST /api/v1/orders/{orderId}/payment at the shop leads to the payment sandbox, http://127.0.0.1:${PORT[payments]}
  health  http://127.0.0.1:$((PORT[api] + 1000))/health/ready       the same port + 1, + 2, + 3 for Admin, Worker and the sandbox; /metrics beside it"
  [[ -z $DEMO ]] || buy_hint "$env"
}

buy_hint() {
  say ''
  say "Buy (also in $(relative "$STACK/buy.sh"); run twice it is a retry and gets the same order):"
  say ''
  say "$(tail -n +2 "$STACK/buy.sh")"
  say ''
  say "and see the order:  (. $1; psql \"\$FLASHSALE_POSTGRES\" -c 'select * from orders')"
}

main() {
  parse "$@"
  use_stack_of_base "$BASE_ASKED"
  guard
  set_now
  BEGAN=$NOW
  # This check comes before the stack has a folder.
  [[ $KIND != external ]] || { load_settings && external_given; }
  lock_stack
  make_secrets
  say "FlashSale: bringing up the stack in $(relative "$STACK") (log: $(relative "$STEP_LOG"))"
  step dotnet 'SDK 10' ensure_dotnet
  step prepare 'packages, images, folders' prepare
  step servers 'starting redis, rabbitmq, postgres' launch_servers
  [[ $INFRA != native ]] || infra_script
  take_settings
  step build 'publishing the hosts' publish_hosts
  await_servers
  write_env
  step hosts 'starting api, admin, worker, payments' start_hosts
  for host in "${HOSTS[@]}"; do step "$host" 'becoming ready' await_host "$host"; done
  [[ -z $DEMO ]] || step demo 'a sale to buy from' demo_step
  summary
}

main "$@"
