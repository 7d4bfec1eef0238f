# shellcheck shell=bash
# Runs the hosts: each is published into the stack's own folder and has a supervisor that starts it again when it dies.
# The last one, payments, is no part of the product. It is the sandbox of a payment provider, without which nobody could
# pay here.

management_port() { echo "$((${PORT[$1]} + 1000))"; }

host_dll() { printf '%s/app/%s/%s.dll' "$STACK" "$1" "$(host_project "$1")"; }

# publish_hosts: does nothing when the sources are those of the last time. A running stack keeps its files until the new
# ones are complete.
publish_hosts() {
  local hash
  hash=$(sources_hash)
  STEP_NOTE='unchanged'
  [[ ! -f $STACK/app/hash || $(<"$STACK/app/hash") != "$hash" ]] || return 0
  build_lock
  publish "$STACK/app.next" || fail "the build failed"
  build_unlock
  printf '%s\n' "$hash" >"$STACK/app.next/hash"
  check_running_hosts
  # .NET loads assemblies lazily, so they must not change under a running host.
  stop_hosts stop_host
  rm -rf "$STACK/app"
  mv "$STACK/app.next" "$STACK/app"
  STEP_NOTE='published' CHANGED=yes
}

# check_running_hosts: tries the new hosts with the settings they are to get, before those that run are stopped.
check_running_hosts() {
  local host
  "${INFRA}_addresses"
  for host in "${HOSTS[@]}"; do
    ! alive "$host-supervisor" || check_host "$host" "$STACK/app.next"
  done
}

# host_environment HOST: prints the settings of a host, and only those it needs.
host_environment() {
  local host=$1 name
  printf '%s\n' "HOME=${HOME:-/}" "Urls=http://127.0.0.1:${PORT[$host]}" "DOTNET_ENVIRONMENT=${FLASHSALE_ENVIRONMENT:-Production}" "ASPNETCORE_ENVIRONMENT=${FLASHSALE_ENVIRONMENT:-Production}"
  [[ $host == payments ]] || store_settings
  case $host in
    api)
      printf '%s\n' "Jwt__Issuer=${SETTING[FLASHSALE_JWT_ISSUER]}" "Jwt__Audience=${SETTING[FLASHSALE_JWT_AUDIENCE]}" \
        "Jwt__Keys__0__Kid=$JWT_KID" "Jwt__Keys__0__Secret=${SETTING[FLASHSALE_JWT_KEY]}" "Webhook__Secret=${SETTING[FLASHSALE_WEBHOOK_SECRET]}" \
        "Admission__TicketKey=${SETTING[FLASHSALE_TICKET_KEY]}"
      provider_settings
      ;;
    admin)
      printf '%s\n' "Admin__Tokens__0__Name=local" Admin__Tokens__0__Role=operator "Admin__Tokens__0__Sha256=$(admin_token_hash)"
      ;;
    worker)
      printf '%s\n' "RabbitMq__Url=$RABBITMQ"
      provider_settings
      ;;
    payments)
      printf '%s\n' "Sandbox__ApiKey=${SETTING[FLASHSALE_PAYMENTS_KEY]}" "Sandbox__WebhookSecret=${SETTING[FLASHSALE_WEBHOOK_SECRET]}" \
        "Sandbox__WebhookUrl=http://127.0.0.1:${PORT[api]}/api/v1/payments/webhook"
      ;;
  esac
  # These variables tell where the machine keeps things, so a host gets them too.
  for name in TMPDIR TZ DOTNET_ROOT SSL_CERT_FILE SSL_CERT_DIR; do
    [[ -z ${!name:-} ]] || printf '%s=%s\n' "$name" "${!name}"
  done
  while read -r name; do printf '%s=%s\n' "$name" "${SETTING[$name]}"; done < <(host_settings)
}

# host_settings: prints the names of the settings that were given.
host_settings() { printf '%s\n' "${!SETTING[@]}" | grep __ | LC_ALL=C sort || true; }

# take_settings: takes settings of the hosts from the environment (Section__Name=value ./scripts/up.sh). A value holds
# until another one is given, and an empty one takes it back. The settings are written to disk only after they were
# found good.
take_settings() {
  local name
  TAKEN=()
  for name in $(compgen -e | grep -E '^[A-Za-z][A-Za-z0-9]*__' | LC_ALL=C sort); do
    [[ ${!name} != *$'\n'* ]] || fail "$name must be one line"
    [[ ${SETTING[$name]:-} != "${!name}" ]] || continue
    TAKEN+=("$name")
    if [[ -n ${!name} ]]; then SETTING[$name]=${!name}; else unset "SETTING[$name]"; fi
  done
}

declare -a TAKEN=()

# check_host HOST [APP]: checks that a host, of that folder, can start with its settings, before the one that runs is
# stopped.
check_host() {
  local refusal dll
  dll=$(host_dll "$1")
  [[ -z ${2:-} ]] || dll=$2${dll#"$STACK/app"}
  refusal=$(mapfile -t settings < <(host_environment "$1"); bounded 60 env -i "PATH=$PATH" "${settings[@]}" "$DOTNET" "$dll" --check 2>&1) ||
    fail "$1 is left as it was: $(grep 'cannot start' <<<"$refusal" | tail -n 1 | cut -c1-500)"
}

store_settings() {
  printf '%s\n' "Redis__Endpoint=$REDIS" "Postgres__Url=$POSTGRES"
  [[ -z ${SETTING[FLASHSALE_REDIS_PASSWORD]:-} ]] || printf 'Redis__Password=%s\n' "${SETTING[FLASHSALE_REDIS_PASSWORD]}"
}

provider_settings() { printf '%s\n' "Payments__BaseUrl=http://127.0.0.1:${PORT[payments]}" "Payments__ApiKey=${SETTING[FLASHSALE_PAYMENTS_KEY]}"; }

# start_hosts: starts supervisors that are missing, and restarts those of hosts that changed, in sources or settings.
start_hosts() {
  local host
  local -A config=()
  local -a changed=() started=() restarted=()
  for host in "${HOSTS[@]}"; do
    config[$host]=$(host_config "$host")
    if alive "$host-supervisor" && [[ -f $RUN/$host.config && $(<"$RUN/$host.config") == "${config[$host]}" ]]; then continue; fi
    changed+=("$host")
    if alive "$host-supervisor"; then restarted+=("$host"); else started+=("$host"); fi
  done
  # Only running hosts are checked first. A host that is stopped has nothing to lose, and reports wrong settings by
  # itself.
  for host in "${restarted[@]}"; do check_host "$host"; done
  ((!${#TAKEN[@]})) || write_private "$STACK/settings" all_settings
  for host in "${changed[@]}"; do
    start_host "$host"
    printf '%s\n' "${config[$host]}" >"$RUN/$host.config"
  done
  STEP_NOTE='all running'
  ((!${#changed[@]})) || CHANGED=yes STEP_NOTE=$(start_note)
}

start_note() {
  local given note=''
  ((!${#started[@]})) || note="started ${started[*]}"
  if ((${#restarted[@]})); then
    note+="${note:+; }started again ${restarted[*]}"
    if ((${#TAKEN[@]})); then note+=", for the new ${TAKEN[*]}"; else note+=", whose own settings or supervisor changed"; fi
  fi
  given=$(host_settings | tr '\n' ' ')
  printf '%s' "$note${given:+; given and kept: ${given% }}"
}

host_config() { { host_environment "$1"; cat "$STACK/app/hash" "$LIB/supervise.sh"; } | sha256sum | cut -d' ' -f1; }

check_host_ports() {
  local host
  for host in "${HOSTS[@]}"; do
    if alive "$host-supervisor" || alive "$host"; then continue; fi
    check_port "$host"
    check_port "$host management" "$(management_port "$host")"
  done
}

start_host() {
  stop_host "$1"
  check_port "$1"
  mapfile -t LAUNCH_ENV < <(host_environment "$1")
  launch "$1-supervisor" "$(id -un)" "$STACK/app/$1" bash "$LIB/supervise.sh" "$STACK" "$1" "$DOTNET" "$(host_dll "$1")"
}

# If the supervisor was killed, the host is stopped by its own record.
stop_host() {
  local outcome
  stop_process "$1-supervisor" TERM 45
  outcome=${ASKED[$1]:-$STOPPED}
  stop_process "$1" TERM 40
  [[ $outcome == 'was not running' ]] || STOPPED=$outcome
}

declare -A ASKED=()

# stop_hosts COMMAND: asks all hosts to end, then runs COMMAND HOST for each, which waits until the host is gone.
stop_hosts() {
  local host
  # All hosts are asked at once, since each may take its time to drain.
  for host in "${HOSTS[@]}"; do
    if alive "$host-supervisor"; then kill -TERM "$PID" && ASKED[$host]=stopped; fi
  done
  for host in "${HOSTS[@]}"; do "$1" "$host"; done
  ASKED=()
}

host_ready() { [[ $(curl -s -o /dev/null -m 3 -w '%{http_code}' "http://127.0.0.1:$(management_port "$1")/health/ready") == 200 ]]; }

ready_or_ended() { host_ready "$1" || gone "$1-supervisor"; }

await_host() {
  wait_until "${FLASHSALE_READY_TIMEOUT:-90}" ready_or_ended "$1" ||
    fail "$1 is not ready: $(curl -s -m 3 "http://127.0.0.1:$(management_port "$1")/health/ready" | head -c 300 || true)" "$LOGS/$1.log"
  alive "$1-supervisor" || fail "$(grep 'cannot start' "$LOGS/$1.log" | tail -n 1 | cut -c1-500)" "$LOGS/$1.log"
  alive "$1" || fail "$1 answers on its port, but it is not ours: another process has ${PORT[$1]}" "$LOGS/$1.log"
  env_pid "$1" "$PID"
  STEP_NOTE="http://127.0.0.1:${PORT[$1]}, pid $PID"
}
