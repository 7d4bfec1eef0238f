# shellcheck shell=bash
# Runs a private redis-server.

redis_config() {
  local kib
  kib=$(memory_kib)
  cat <<CONF
bind 127.0.0.1
port ${PORT[redis]}
protected-mode yes
daemonize no
dir $DATA_REAL/redis
# A 202 is durable: every acknowledged write is on disk.
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
# A rewrite in mid-sale costs latency when it is wanted least; it is started by hand.
auto-aof-rewrite-percentage 0
save ""
# Nothing here may ever be evicted. Past half of the machine's memory writes are refused, before the kernel kills something.
maxmemory ${FLASHSALE_REDIS_MAXMEMORY:-$((kib / 2))kb}
maxmemory-policy noeviction
CONF
}

redis_launch() {
  local user
  user=$(server_user redis)
  check_port redis
  own_folder "$user" "$DATA_REAL/redis"
  redis_config >"$DATA_REAL/redis/redis.conf"
  launch redis "$user" "$DATA_REAL/redis" "$(command -v redis-server)" "$DATA_REAL/redis/redis.conf"
}

redis_ready() { redis_says "127.0.0.1:${PORT[redis]}" PING '+PONG'; }

# Redis takes a while to load a long append-only file, and says so in its log.
redis_await() { await_server redis 300 redis_ready; }

redis_stop() { stop_process redis TERM 30; }

# redis_says HOST:PORT COMMAND ANSWER: whether Redis gives that answer. It needs no redis-cli, which is not there with
# an external Redis. The password comes from FLASHSALE_REDIS_PASSWORD.
redis_says() { [[ $(redis_ask "$1" "$2") == *"$3"* ]]; }

redis_ask() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  timeout 3 bash -c '
    exec 5<>"/dev/tcp/${1%:*}/${1##*:}" || exit 1
    [[ -z ${FLASHSALE_REDIS_PASSWORD:-} ]] || printf "AUTH %s\r\n" "$FLASHSALE_REDIS_PASSWORD" >&5
    printf "%s\r\nQUIT\r\n" "$2" >&5
    cat <&5' ask "$1" "$2" 2>/dev/null | tr -d '\r'
}
