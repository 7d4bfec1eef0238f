# shellcheck shell=bash
# The servers of a stack, of any kind. Each kind (native, docker, external) has _prepare, _launch NAME, _await NAME,
# _addresses and _pid NAME.

# choose_infra [KIND]: sets INFRA to the kind that was asked for, else to the kind that this stack has, else to docker
# when an engine answers and has or gets the images, else to native.
choose_infra() {
  INFRA=${1:-${SETTING[INFRA]:-}}
  INFRA_NOTE=''
  if [[ -z $INFRA ]]; then
    INFRA=native
    if docker_answers; then
      if docker_images; then INFRA=docker; else INFRA_NOTE=' (a Docker engine answers, but cannot get the images)'; fi
    fi
  fi
  [[ -z ${SETTING[INFRA]:-} || ${SETTING[INFRA]} == "$INFRA" ]] ||
    fail "this stack's data are in ${SETTING[INFRA]} servers, not in $INFRA ones; \"scripts/down.sh --wipe\" first, or use another --port-base" /dev/null
}

load_infra() {
  load_settings
  INFRA=${SETTING[INFRA]:-}
  [[ -n $INFRA ]] || fail "there is no stack in $(relative "$STACK")" /dev/null
}

write_addresses() {
  local name
  local -a pairs
  "${INFRA}_addresses"
  pairs=(FLASHSALE_REDIS "$REDIS" FLASHSALE_POSTGRES "$POSTGRES" FLASHSALE_RABBITMQ "$RABBITMQ")
  for name in "${SERVERS[@]}"; do pairs+=("FLASHSALE_PID_${name^^}" "$("${INFRA}_pid" "$name")"); done
  env_set "${pairs[@]}"
}

# stop_servers [wipe]: stops the servers. With wipe, the volumes of containers go too.
stop_servers() {
  local name
  case $INFRA in
    native) for name in rabbitmq postgres redis; do step "$name" stopping told "${name}_stop"; done ;;
    docker) step servers 'stopping the containers' stop_containers "${1:-}" ;;
  esac
}

# told COMMAND…: runs a command that stops a process, as a step with its outcome.
told() {
  "$@"
  STEP_NOTE=$STOPPED
}

stop_containers() {
  local -a volumes=()
  [[ ${1:-} != wipe ]] || volumes=(--volumes)
  docker_answers || fail "the Docker engine does not answer; start it, then run this again" /dev/null
  compose down --timeout 30 "${volumes[@]}"
  STEP_NOTE=stopped
}

# infra_script: writes a short command for tests and fault runs that knows its stack.
infra_script() {
  printf '#!/bin/sh\nexec %q --stack %q "$@"\n' "$ROOT/scripts/infra.sh" "$STACK" >"$STACK/bin/infra"
  chmod 0755 "$STACK/bin/infra"
}
