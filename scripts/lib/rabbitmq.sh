# shellcheck shell=bash
# Runs a private rabbitmq-server, with an epmd (Erlang's port mapper) of its own, so that no stack sees the node of
# another.

# Prints the environment of the node and of rabbitmqctl. Nothing is read from /etc/rabbitmq.
rabbitmq_environment() {
  local dir=$DATA_REAL/rabbitmq
  printf '%s\n' \
    "HOME=$dir" "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "LC_ALL=$LC_ALL" \
    "RABBITMQ_CONF_ENV_FILE=/dev/null" "RABBITMQ_NODENAME=flashsale@localhost" "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1" \
    "RABBITMQ_NODE_PORT=${PORT[rabbitmq]}" "RABBITMQ_DIST_PORT=${PORT[rabbitmq-dist]}" \
    "RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf" "RABBITMQ_ADVANCED_CONFIG_FILE=$dir/advanced.config" \
    "RABBITMQ_MNESIA_BASE=$dir/node" "RABBITMQ_LOG_BASE=$dir/log" "RABBITMQ_ENABLED_PLUGINS_FILE=$dir/enabled_plugins" \
    "ERL_EPMD_ADDRESS=127.0.0.1" "ERL_EPMD_PORT=${PORT[epmd]}"
}

rabbitmq_files() {
  local user=$1 dir=$DATA_REAL/rabbitmq
  own_folder "$user" "$dir"
  # The node reads this user at its first start only, while its database is empty. With a user here it makes no guest.
  cat >"$dir/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:${PORT[rabbitmq]}
default_user = flashsale
default_pass = ${SETTING[FLASHSALE_RABBITMQ_PASSWORD]}
default_user_tags.administrator = true
log.console = true
log.console.level = info
log.file = false
CONF
  echo '[].' >"$dir/enabled_plugins"
  # Without a cookie of its own the node would take one from the home of its user, or make one there.
  [[ -s $dir/.erlang.cookie ]] || random_hex 20 >"$dir/.erlang.cookie"
  chmod 0600 "$dir/rabbitmq.conf"
  chmod 0400 "$dir/.erlang.cookie"
  [[ $EUID != 0 ]] || chown "$user:" "$dir/rabbitmq.conf" "$dir/enabled_plugins" "$dir/.erlang.cookie"
}

rabbitmq_launch() {
  local user
  user=$(server_user rabbitmq)
  check_port rabbitmq
  check_port rabbitmq-dist
  rabbitmq_files "$user"
  rabbitmqctl_script "$user"
  epmd_launch "$user"
  mapfile -t LAUNCH_ENV < <(rabbitmq_environment)
  # As under systemd, the start script becomes the node itself, so that the recorded pid is that of the node.
  # Without "+sbwt none", Erlang's idle schedulers spin for a while on cores that others need.
  LAUNCH_ENV+=(RUNNING_UNDER_SYSTEMD=true RABBITMQ_SCHEDULER_BIND_TYPE=u
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1} -start_epmd false")
  launch rabbitmq "$user" "$DATA_REAL/rabbitmq" "$RABBITMQ_BIN/rabbitmq-server"
}

# Without this, the node would start epmd as a daemon that outlives it and that nobody stops.
epmd_launch() {
  alive epmd && return
  check_port epmd
  launch epmd "$1" "$DATA_REAL/rabbitmq" "$(command -v epmd)" -address 127.0.0.1 -port "${PORT[epmd]}"
  wait_until 10 listener "${PORT[epmd]}" || fail "epmd does not listen on ${PORT[epmd]}" "$LOGS/epmd.log"
}

# rabbitmqctl_script USER: writes bin/rabbitmqctl, which runs rabbitmqctl for this node as the node's user.
rabbitmqctl_script() {
  local -a environment
  local as=''
  mapfile -t environment < <(rabbitmq_environment)
  [[ $1 == "$(id -un)" ]] || as="setpriv --reuid $1 --regid $1 --init-groups"
  {
    printf '#!/bin/sh\n# rabbitmqctl of this stack'\''s node\ncd /\nexec %s env -i' "$as"
    printf ' %q' "${environment[@]}" "$RABBITMQ_BIN/rabbitmqctl"
    printf ' "$@"\n'
  } >"$STACK/bin/rabbitmqctl"
  chmod 0755 "$STACK/bin/rabbitmqctl"
}

rabbitmq_ready() { amqp_answers 127.0.0.1 "${PORT[rabbitmq]}"; }

rabbitmq_await() { await_server rabbitmq 120 rabbitmq_ready; }

rabbitmq_stop() {
  local outcome
  stop_process rabbitmq TERM 60
  outcome=$STOPPED
  stop_process epmd TERM 5
  STOPPED=$outcome
}

# amqp_answers HOST PORT: whether the server answers the greeting of the protocol with a method frame. The listener
# opens when the node has booted.
amqp_answers() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  timeout 3 bash -c 'exec 5<>"/dev/tcp/$1/$2" && printf "AMQP\0\0\11\1" >&5 && head -c 1 <&5' greet "$1" "$2" 2>/dev/null | grep -q $'\x01'
}
