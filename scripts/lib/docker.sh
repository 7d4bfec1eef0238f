# shellcheck shell=bash
# Runs the three servers as containers of docker-compose.yml, in a project of this stack's own.

docker_answers() { have docker && timeout 10 docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }

compose() {
  docker compose --project-name "flashsale-$BASE" --env-file "$STACK/compose.env" --file "$ROOT/docker-compose.yml" "$@" 9>&-
}

docker_prepare() {
  docker_answers || fail "--infra docker: no Docker engine with compose v2 answers (docker info, docker compose version)" /dev/null
  docker_images || fail "the images of the servers cannot be pulled; use --infra native"
}

# compose_env: prints the variables that docker-compose.yml takes from its environment, and the addresses from outside
# under the names of .local/env. compose-env.sh writes the same into .env.
compose_env() {
  local name
  for name in api admin worker payments redis postgres rabbitmq; do printf 'FLASHSALE_%s_PORT=%s\n' "${name^^}" "${PORT[$name]}"; done
  for name in FLASHSALE_{JWT_KEY,JWT_ISSUER,JWT_AUDIENCE,TICKET_KEY,WEBHOOK_SECRET,PAYMENTS_KEY,ADMIN_TOKEN,POSTGRES_PASSWORD,RABBITMQ_PASSWORD}; do printf '%s=%s\n' "$name" "${SETTING[$name]}"; done
  printf 'FLASHSALE_ADMIN_TOKEN_SHA256=%s\n' "$(admin_token_hash)"
  for name in "${HOSTS[@]}"; do printf 'FLASHSALE_%s_URL=http://127.0.0.1:%s\n' "${name^^}" "${PORT[$name]}"; done
  docker_addresses
  printf 'FLASHSALE_REDIS=%s\nFLASHSALE_POSTGRES=%s\nFLASHSALE_RABBITMQ=%s\n' "$REDIS" "$POSTGRES" "$RABBITMQ"
}

admin_token_hash() { printf '%s' "${SETTING[FLASHSALE_ADMIN_TOKEN]}" | sha256sum | cut -d' ' -f1; }

# docker_images: whether the three images are there or can be fetched. An engine may answer and yet reach no registry.
docker_images() {
  local image
  write_private "$STACK/compose.env" compose_env
  for image in $(compose config --images "${SERVERS[@]}"); do
    docker image inspect "$image" >/dev/null 2>&1 || timeout "${FLASHSALE_PULL_TIMEOUT:-300}" docker pull -q "$image" || { echo "cannot pull $image"; return 1; }
  done
}

docker_launch() {
  [[ $1 == redis ]] || return 0
  compose up --detach "${SERVERS[@]}"
}

docker_await() {
  compose up --detach --wait --wait-timeout 180 "$1" || fail "container $1 is not healthy: $(compose logs --no-log-prefix --tail 3 "$1" 2>&1 | tail -n 3)"
  STEP_NOTE="127.0.0.1:${PORT[$1]}, container pid $(docker_pid "$1")"
}

docker_addresses() { native_addresses; }

docker_pid() {
  local id
  id=$(compose ps --quiet "$1" 2>/dev/null) && [[ -n $id ]] || return 0
  docker inspect --format '{{.State.Pid}}' "$id"
}
