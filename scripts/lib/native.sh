# shellcheck shell=bash
# Runs the three servers as processes of this machine, from Debian packages.

# choose_data_folder: sets DATA_REAL. When root starts the servers, they run as users that may be unable to reach a
# checkout (under /root, or in a folder made by mktemp). Then their data goes to /var/lib/flashsale, and data/ is a link
# to it.
choose_data_folder() {
  if [[ -L $DATA ]] && ! owned_data; then rm -f "$DATA"; fi
  if [[ ! -e $DATA ]]; then
    if servers_can_reach "$STACK"; then install -d -m 0711 "$DATA"; else link_data_folder; fi
  fi
  DATA_REAL=$(readlink -f "$DATA")
  servers_can_reach "$DATA_REAL" || fail "the users redis, rabbitmq and postgres cannot reach $DATA_REAL; make its parent folders passable (chmod a+x)" /dev/null
}

# A copied folder contains a copy of the link, and must not use the data of the original.
owned_data() { [[ -f $DATA/owner && $(<"$DATA/owner") == "$(stat -c %d:%i "$STACK")" ]]; }

link_data_folder() {
  local folder
  install -d -m 0711 /var/lib/flashsale
  folder=$(mktemp -d /var/lib/flashsale/XXXXXXXX)
  chmod 0711 "$folder"
  stat -c %d:%i "$STACK" >"$folder/owner"
  ln -s "$folder" "$DATA"
}

servers_can_reach() {
  local name
  [[ $EUID == 0 ]] || return 0
  for name in "${SERVERS[@]}"; do reachable_by "$name" "$1" x || return 1; done
}

wipe_data() {
  local real
  if [[ -L $DATA ]]; then
    real=$(readlink "$DATA")
    if [[ $real == /var/lib/flashsale/* ]] && owned_data; then
      rm -rf "$real"
      rmdir --ignore-fail-on-non-empty /var/lib/flashsale
    fi
  fi
  rm -rf "$DATA"
}

native_prepare() {
  find_programs
  choose_data_folder
}

# native_launch NAME: starts the server unless it runs. native_await NAME then waits until it answers.
native_launch() {
  alive "$1" && return
  "$1_launch"
  CHANGED=yes
}

native_await() {
  "$1_await"
  alive "$1"
  STEP_NOTE="127.0.0.1:${PORT[$1]}, pid $PID"
}

native_addresses() {
  REDIS=127.0.0.1:${PORT[redis]}
  POSTGRES=postgresql://flashsale:${SETTING[FLASHSALE_POSTGRES_PASSWORD]}@127.0.0.1:${PORT[postgres]}/flashsale
  RABBITMQ=amqp://flashsale:${SETTING[FLASHSALE_RABBITMQ_PASSWORD]}@127.0.0.1:${PORT[rabbitmq]}/
}

native_pid() { if alive "$1"; then printf '%s' "$PID"; fi; }
