# shellcheck shell=bash
# Runs a private PostgreSQL cluster. It listens on TCP on loopback only: the path of a socket may have 107 characters,
# and a deep checkout exceeds that.

postgres_launch() {
  local user kib dir=$DATA_REAL/postgres
  kib=$(memory_kib)
  user=$(server_user postgres)
  check_port postgres
  [[ -f $dir/PG_VERSION ]] || postgres_init "$user"
  drop_stale_lock "$dir/postmaster.pid"
  launch postgres "$user" "$dir" "$POSTGRES_BIN/postgres" -D "$dir" -p "${PORT[postgres]}" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories='' \
    -c fsync=on -c synchronous_commit=on -c full_page_writes=on \
    -c max_connections=200 -c shared_buffers=$((kib / 8 < 1048576 ? kib / 8 : 1048576))kB -c max_wal_size=4GB -c checkpoint_timeout=15min \
    -c logging_collector=off -c log_line_prefix='%m [%p] %u@%d ' -c cluster_name="flashsale-$BASE"
}

# A cluster is made aside and moved into place, so that an interrupted initdb does not pass for a cluster.
postgres_init() {
  local user=$1 new=$DATA_REAL/postgres.new version
  rm -rf "$new" "$DATA_REAL/postgres.password"
  own_folder "$user" "$new"
  (umask 077 && printf '%s\n' "${SETTING[FLASHSALE_POSTGRES_PASSWORD]}" >"$DATA_REAL/postgres.password")
  [[ $EUID != 0 ]] || chown "$user:" "$DATA_REAL/postgres.password"
  as_user "$user" "$new" "$POSTGRES_BIN/initdb" -D "$new" --username=flashsale --pwfile="$DATA_REAL/postgres.password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C >>"$LOGS/postgres.log" 2>&1 || fail "initdb failed" "$LOGS/postgres.log"
  rm -f "$DATA_REAL/postgres.password"
  version=$(<"$new/PG_VERSION")
  mv "$new" "$DATA_REAL/postgres"
  printf '%s\n' "$version" >"$DATA_REAL/postgres.version"
}

as_user() {
  local user=$1 dir=$2
  local -a as=()
  shift 2
  [[ $user == "$(id -un)" ]] || as=(setpriv --reuid "$user" --regid "$user" --init-groups)
  (cd "$dir" && exec "${as[@]}" env -i "PATH=$PATH" "HOME=$dir" "LC_ALL=$LC_ALL" "$@")
}

# After a reboot the pid in postmaster.pid may belong to any process, and PostgreSQL would then refuse to start. A
# postmaster works in its data folder, so a process elsewhere is not one.
drop_stale_lock() {
  local pid
  [[ -f $1 ]] || return 0
  pid=$(head -n1 "$1")
  [[ $(readlink "/proc/$pid/cwd" 2>/dev/null) != "$(dirname "$1")" ]] || return 0
  rm -f "$1"
}

postgres_ready() { "$POSTGRES_BIN/pg_isready" -q -h 127.0.0.1 -p "${PORT[postgres]}" -d postgres -t 3; }

# After a hard kill the old backends hold the shared memory for a moment, and PostgreSQL gives up at once. Then this
# starts it again.
postgres_await() {
  local attempt
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    wait_until 300 answered_or_dead postgres postgres_ready || fail "postgres runs but did not answer within 300 s" "$LOGS/postgres.log"
    alive postgres && break
    tail -n 3 "$LOGS/postgres.log" | grep -q 'shared memory block' || fail "postgres stopped while it was starting" "$LOGS/postgres.log"
    sleep 0.5
    echo "postgres: start attempt $((attempt + 1))"
    postgres_launch
  done
  postgres_database
}

postgres_database() {
  [[ ! -f $DATA_REAL/postgres.created ]] || return 0
  local has
  has=$(psql_admin -Atc "select 1 from pg_database where datname = 'flashsale'") || fail "postgres does not let user flashsale in" "$LOGS/postgres.log"
  [[ -n $has ]] || psql_admin -qc 'create database flashsale' || fail "the database could not be made" "$LOGS/postgres.log"
  : >"$DATA_REAL/postgres.created"
}

psql_admin() {
  PGPASSWORD=${SETTING[FLASHSALE_POSTGRES_PASSWORD]} PGCONNECT_TIMEOUT=5 "$POSTGRES_BIN/psql" -X -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "${PORT[postgres]}" -U flashsale -d postgres "$@"
}

# SIGINT ends the sessions and makes a checkpoint. SIGTERM would wait for the clients to leave.
postgres_stop() { stop_process postgres INT 60; }
