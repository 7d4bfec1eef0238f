# shellcheck shell=bash
# Uses servers that somebody else runs. Their addresses come from the environment, and are tried before anything depends
# on them.

# external_given: takes the addresses from the environment or from an earlier run, and checks their form.
external_given() {
  local name
  local -a missing=()
  for name in FLASHSALE_REDIS FLASHSALE_POSTGRES FLASHSALE_RABBITMQ; do
    # A later run without these variables uses the same servers as before.
    [[ -n ${!name:-} ]] || declare -g "$name=${SETTING[$name]:-}"
    [[ -n ${!name} ]] || missing+=("$name")
  done
  ((!${#missing[@]})) || fail "--infra external needs ${missing[*]} in the environment. Right are, for example:
    FLASHSALE_REDIS=10.0.0.5:6379
    FLASHSALE_POSTGRES=postgresql://user:password@10.0.0.6:5432/flashsale?sslmode=verify-full
    FLASHSALE_RABBITMQ=amqps://user:password@10.0.0.7:5671/" /dev/null
  [[ $FLASHSALE_REDIS =~ ^[^:/@[:space:]]+:[0-9]+$ ]] || fail "FLASHSALE_REDIS=$FLASHSALE_REDIS: must be host:port" /dev/null
  [[ $FLASHSALE_POSTGRES =~ ^postgres(ql)?://[^/]+/[^/?]+ ]] || fail "FLASHSALE_POSTGRES: must be postgresql://user:password@host:port/database" /dev/null
  [[ $FLASHSALE_RABBITMQ =~ ^amqps?://[^/]+ ]] || fail "FLASHSALE_RABBITMQ: must be amqp://user:password@host:port/vhost, or amqps" /dev/null
}

external_prepare() {
  local name
  external_given
  for name in FLASHSALE_REDIS FLASHSALE_POSTGRES FLASHSALE_RABBITMQ; do remember "$name" "${!name}"; done
  [[ -z ${FLASHSALE_REDIS_PASSWORD:-} ]] || remember FLASHSALE_REDIS_PASSWORD "$FLASHSALE_REDIS_PASSWORD"
  FLASHSALE_REDIS_PASSWORD=${SETTING[FLASHSALE_REDIS_PASSWORD]:-}
  export FLASHSALE_REDIS_PASSWORD
}

external_launch() { :; }

external_await() { "external_$1"; }

external_redis() {
  wait_until 10 redis_says "$FLASHSALE_REDIS" PING '+PONG' ||
    fail "FLASHSALE_REDIS=$FLASHSALE_REDIS does not answer PING (address? password in FLASHSALE_REDIS_PASSWORD?): $(redis_ask "$FLASHSALE_REDIS" PING | head -n1)" /dev/null
  STEP_NOTE="$FLASHSALE_REDIS$(redis_warnings)"
}

# An external Redis that keeps less than a 202 promises is used all the same, but with a warning.
redis_warnings() {
  local name value
  for name in appendonly=yes appendfsync=always maxmemory-policy=noeviction; do
    value=$(redis_ask "$FLASHSALE_REDIS" "CONFIG GET ${name%%=*}" | sed -n "/^${name%%=*}$/{n;n;p;}")
    [[ -z $value || $value == "${name#*=}" ]] || printf '; WARNING: %s is %s, orders are safe only with %s' "${name%%=*}" "$value" "${name#*=}"
  done
}

external_postgres() {
  local nodes
  nodes=$(nodes "$FLASHSALE_POSTGRES" 5432)
  wait_until 10 any_of postgres_answers "$nodes" || fail "FLASHSALE_POSTGRES: no PostgreSQL answers at ${nodes//$'\n'/, }" /dev/null
  if have psql; then
    PGCONNECT_TIMEOUT=5 psql -X "$FLASHSALE_POSTGRES" -Atc 'select 1' >/dev/null || fail "FLASHSALE_POSTGRES: ${nodes//$'\n'/, } answers, but does not let this user into this database"
  fi
  STEP_NOTE=${nodes//$'\n'/, }
}

external_rabbitmq() {
  local nodes port=5672 answers=amqp_node_answers
  [[ $FLASHSALE_RABBITMQ != amqps:* ]] || { port=5671 answers=amqps_answers; }
  nodes=$(nodes "$FLASHSALE_RABBITMQ" "$port")
  wait_until 10 any_of "$answers" "$nodes" || fail "FLASHSALE_RABBITMQ: no AMQP broker answers at ${nodes//$'\n'/, }" /dev/null
  STEP_NOTE=${nodes//$'\n'/, }
}

# nodes URI DEFAULT_PORT: prints host:port of each host, one per line.
nodes() {
  local at=${1#*://} node
  at=${at%%[/?]*}
  at=${at##*@}
  for node in ${at//,/ }; do
    [[ $node =~ :[0-9]+$ ]] || node=$node:$2
    printf '%s\n' "$node"
  done
}

# any_of COMMAND NODES: whether the command succeeds with one of the nodes.
any_of() {
  local node
  for node in $2; do
    "$1" "$node" && return 0
  done
  return 1
}

amqp_node_answers() { amqp_answers "${1%:*}" "${1##*:}"; }

# amqps_answers HOST:PORT: whether the server answers the greeting of the protocol, over TLS, with a method frame. The
# worker checks whether the certificate is trusted.
amqps_answers() {
  local first
  first=$({ printf 'AMQP\0\0\11\1'; sleep 2; } | timeout 3 openssl s_client -quiet -connect "$1" 2>/dev/null | head -c 1 | od -An -tu1)
  [[ ${first// /} == 1 ]]
}

# postgres_answers HOST:PORT: whether the server answers an SSLRequest with S or N, which needs no user.
postgres_answers() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  timeout 3 bash -c 'exec 5<>"/dev/tcp/${1%:*}/${1##*:}" && printf "\0\0\0\10\4\322\26\57" >&5 && head -c 1 <&5' ask "$1" 2>/dev/null | grep -q '^[SN]'
}

external_addresses() { REDIS=$FLASHSALE_REDIS POSTGRES=$FLASHSALE_POSTGRES RABBITMQ=$FLASHSALE_RABBITMQ; }

external_pid() { :; }
