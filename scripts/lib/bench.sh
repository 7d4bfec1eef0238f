# shellcheck shell=bash disable=SC2153,SC2154
# The measuring parts of bench.sh: the stack and the bare endpoint, sales, loads by wrk, figures and their report.

BENCH=$ROOT/.local/bench.$$
TOKENS=1000000
CONNECTIONS=128
SKU=bench-item
ITEMS=1
BUYERS=$BENCH/tokens
BARE_PID='' BARE_URL='' FIRST=0 NOISE=0 INCONCLUSIVE='' PATIENCE=120
declare -A R=() FIGURES=() CPU=()

# ---- the stack -------------------------------------------------------------------------------------------------------

bring_up() {
  local path
  STEP_LOG=$BENCH/bench.log
  install -d "$BENCH" "$ROOT/loadtests/results"
  bring_up_own_stack >&3 2>&4 || { REPORTED=yes; exit 1; }
  REDIS_PORT=${PORT[redis]}
  # shellcheck disable=SC1091
  . "$STACK/env"
  printf -v path '%(%F)T' -1
  RESULT=$ROOT/loadtests/results/$path-bench.md
  ensure_dotnet
  step tools 'wrk, the bare endpoint, tokens' prepare_tools
}

prepare_tools() {
  have wrk || install_packages wrk
  build_project FlashSale.BareEndpoint "$BENCH/bare"
  (
    umask 077
    Jwt__Kid=$JWT_KID Jwt__Issuer=$FLASHSALE_JWT_ISSUER Jwt__Audience=$FLASHSALE_JWT_AUDIENCE Jwt__Secret=$FLASHSALE_JWT_KEY \
      "$DOTNET" "$BENCH/bare/FlashSale.BareEndpoint.dll" tokens "$TOKENS" "$BENCH/tokens"
  )
}

# The bare endpoint runs in a session of its own, as the product's hosts do. Linux shares the cores between sessions, so
# in wrk's session the endpoint would have another share of the machine.
start_bare() {
  BARE_URL=http://127.0.0.1:$((BASE + 50))
  Urls=$BARE_URL Bare__Redis=$FLASHSALE_REDIS Bare__AcceptedBytes=$ACCEPTED_BYTES Bare__SoldOutBytes=$SOLD_OUT_BYTES \
    setsid "$DOTNET" "$BENCH/bare/FlashSale.BareEndpoint.dll" </dev/null >"$BENCH/bare.log" 2>&1 3>&- 4>&- 9>&- &
  BARE_PID=$!
  wait_until 15 curl -s -o /dev/null -m 2 -X POST "$BARE_URL/sold-out" || fail 'the bare endpoint did not start' "$BENCH/bare.log"
  redis SET 'bare:{b}:stock' 2000000000
}

take_down() {
  [[ -z $BARE_PID ]] || { kill "$BARE_PID" && wait "$BARE_PID"; } 2>/dev/null || true
  # A stopped worker would not receive the signal to end.
  [[ ! -f $STACK/env ]] || worker CONT || true
  take_down_own_stack "$BENCH/bench.log"
  rm -rf "$BENCH"/{bare,tokens,answer,wrk,wrk.time}
  # After a failure the logs stay for reading.
  [[ $CODE != 0 ]] || rm -rf "$BENCH"
}

# worker STOP|CONT: stops or continues the worker. A stopped worker uses no core, and the purchases must not notice.
worker() { kill -"$1" "$(env_value FLASHSALE_PID_WORKER "$STACK/env")"; }

redis() { redis-cli -h 127.0.0.1 -p "$REDIS_PORT" "$@"; }

sql() { psql -XAtqv ON_ERROR_STOP=1 "$FLASHSALE_POSTGRES" -c "$1"; }

# ---- sales -----------------------------------------------------------------------------------------------------------

purchase_path() { printf '/api/v1/sales/%s/orders' "$1"; }

# new_sale NAME STOCK: makes a sale that is preloaded and open everywhere. Sets SALE.
new_sale() {
  admin_ok POST /api/v1/sales "{\"name\":\"Bench $1\",\"opensAt\":\"$(utc '+1 hour')\",\"closesAt\":\"$(utc '+1 day')\",\"items\":[
    {\"sku\":\"$SKU\",\"name\":\"Bench item\",\"price\":{\"amount\":9900,\"currency\":\"CNY\"},\"stock\":$2,\"perUserLimit\":${SKU_LIMIT:-1000}}]}"
  SALE=$(json_text saleId)
  open_sale "$SALE"
}

# open_sale SALE: preloads and opens a draft, and waits until the Api shows it as open.
open_sale() {
  admin_ok POST "/api/v1/sales/$1/preload"
  admin_ok POST "/api/v1/sales/$1/open"
  wait_until 10 sale_is_open "$1" || fail "the Api does not show sale $1 as open"
}

sale_is_open() { curl -s -m 3 "$FLASHSALE_API_URL/api/v1/sales/$1" | grep -q '"status" *: *"open"'; }

# purchase_once SALE STATUS: buys as a user that no load takes, and expects STATUS. Sets BODY_BYTES, the size of the
# answer.
purchase_once() {
  local answer
  answer=$(curl -sS -m 5 -o "$BENCH/answer" -w '%{http_code} %{size_download}' -X POST "$FLASHSALE_API_URL$(purchase_path "$1")" \
    -H "Authorization: Bearer $(tail -n 1 "$BENCH/tokens")" -H "Idempotency-Key: $(random_hex 8)" \
    -H 'Content-Type: application/json' --data "{\"sku\":\"$SKU\",\"quantity\":1}")
  cat "$BENCH/answer" && echo
  [[ ${answer% *} == "$2" ]] || fail "a purchase was answered ${answer% *}, expected $2: $(head -c 300 "$BENCH/answer")"
  BODY_BYTES=${answer#* }
}

remaining() { redis HGET "fs:{$1}:stock" "$SKU"; }

load_until_sold_out() {
  local pid
  wrk -t2 "-c$CONNECTIONS" -d120s -s "$ROOT/loadtests/wrk/purchase.lua" "$FLASHSALE_API_URL" -- "$BENCH/tokens" 0 "$(purchase_path "$1")" "$SKU" &
  pid=$!
  wait_until 110 sold_out "$1" || fail "100,000 were not sold within 110 s"
  kill -INT "$pid"
  wait "$pid" || true
}

sold_out() { [[ $(remaining "$1") == 0 ]]; }

# await_drained SALE: waits until all accepted purchases are in Postgres and settled.
await_drained() { wait_until 120 drained "$1" || fail "the backlog of sale $1 was not drained within 120 s" "$LOGS/worker.log"; }

drained() { [[ $(redis XLEN "fs:{$1}:outbox") == 0 && $(redis HLEN "fs:{$1}:inflight") == 0 ]]; }

# await_events: waits until all order events are published. Publishing waits while purchases come in, and must not weigh
# on the next load.
await_events() { wait_until 120 events_published || fail 'order events were not published within 120 s' "$LOGS/worker.log"; }

events_published() { [[ $(sql 'select exists (select 1 from order_event where published_at is null)') == f ]]; }

sold() { sql "select coalesce(sum(sold), 0) from sale_item where sale_id = '$1'"; }

# redis_bytes SALE: prints the size of all keys of the sale, as Redis counts them.
redis_bytes() {
  redis --scan --pattern "fs:{$1}:*" | sed 's/.*/MEMORY USAGE "&" SAMPLES 0/' | redis | awk '/^[0-9]+$/ { sum += $1 } END { printf "%.0f", sum }'
}

check_books() {
  local sale
  for sale in "$BACKLOG" "$ACCEPT"; do
    admin_ok GET "/api/v1/sales/$sale/ledger"
    grep -q '"balanced" *: *true' <<<"$ANSWER" || fail "the books of sale $sale do not balance: ${ANSWER:0:300}"
  done
  STEP_NOTE="balanced, $(sold "$ACCEPT") and $(sold "$BACKLOG") sold"
}

# ---- other load on the machine, and the costs of each part -----------------------------------------------------------

# busy_share: prints how busy all cores are, in percent, over the next half second.
busy_share() {
  local a b
  read -r _ a < <(sed -n 's/^cpu  */cpu /p' /proc/stat)
  sleep 0.5
  read -r _ b < <(sed -n 's/^cpu  */cpu /p' /proc/stat)
  awk -v a="$a" -v b="$b" 'BEGIN { n = split(a, x, " "); split(b, y, " "); for (i = 1; i <= n; i++) all += y[i] - x[i]; idle = y[4] + y[5] - x[4] - x[5]; printf "%d", 100 * (all - idle) / all }'
}

# settle: waits until other work on this machine rests. All waiting and repeating together takes PATIENCE seconds at
# most.
settle() {
  while (($(busy_share) > 15 && PATIENCE > 0)); do
    sleep 1
    PATIENCE=$((PATIENCE - 2))
  done
}

# cores: prints the microseconds that all cores have worked for processes (time stolen by the host of the machine
# included), and the microseconds in all.
cores() { awk -v hz="$(getconf CLK_TCK)" '/^cpu / { for (i = 2; i <= 9; i++) all += $i; printf "%.0f %.0f", ($2 + $3 + $4 + $9) * 1e6 / hz, all * 1e6 / hz }' /proc/stat; }

# quietly COMMAND…: runs a load, and again, twice at most, when others worked on this machine meanwhile. The figures are
# those of the last run.
quietly() {
  local -A kept
  local name try
  for try in 1 2 3; do
    kept=()
    for name in "${!FIGURES[@]}"; do kept[$name]=${FIGURES[$name]}; done
    settle
    cpu_now
    "$@"
    if ((try == 3 || PATIENCE <= 0)) || [[ $NOISE -le 8 && -z $INCONCLUSIVE ]]; then break; fi
    PATIENCE=$((PATIENCE - 2 * SECONDS_EACH))
    echo "again: others took $NOISE% of the machine${INCONCLUSIVE:+; $INCONCLUSIVE}"
    FIGURES=()
    for name in "${!kept[@]}"; do FIGURES[$name]=${kept[$name]}; done
  done
  [[ -z $INCONCLUSIVE ]] || fail "inconclusive: $INCONCLUSIVE"
  record noise "$NOISE"
}

# cpu_of PID: prints the microseconds of processor time of a process and its children so far. Ended children that the
# process has waited for count too.
cpu_of() {
  local pid
  for pid in "$1" $(ps -o pid= --ppid "$1"); do
    sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null || true
  done | awk -v hz="$(getconf CLK_TCK)" 'NR == 1 { ticks = $14 + $15 } { ticks += $12 + $13 } END { printf "%.0f", ticks * 1e6 / hz }'
}

# cpu_now: sets CPU to the processor time of every part so far.
cpu_now() {
  local name
  CPU=([bare]=0)
  [[ -z $BARE_PID ]] || CPU[bare]=$(cpu_of "$BARE_PID")
  for name in api redis worker rabbitmq postgres; do CPU[$name]=$(cpu_of "$(env_value "FLASHSALE_PID_${name^^}" "$STACK/env")"); done
}

ours_so_far() {
  local name
  local -A CPU=()
  cpu_now
  for name in "${!CPU[@]}"; do echo "${CPU[$name]}"; done | awk '{ sum += $1 } END { printf "%.0f", sum }'
}

# record_cpu KIND: records the processor time of each part since the last cpu_now, per request of the load in R.
record_cpu() {
  local name
  local -A before=()
  for name in "${!CPU[@]}"; do before[$name]=${CPU[$name]}; done
  cpu_now
  for name in "${!CPU[@]}"; do
    record "cpu_$1_$name" "$(awk -v a="${CPU[$name]}" -v b="${before[$name]}" -v n="${R[requests]}" 'BEGIN { printf "%.1f", (a - b) / n }')"
  done
}

# ---- loads -----------------------------------------------------------------------------------------------------------

# load PATH SECONDS: runs wrk. Sets R to the figures in its last line, and NOISE to the share of the machine that others
# took.
# PACE is the number of requests per second. Without it wrk sends as many as possible. ITEMS is the number of items to
# buy from. Each load begins with other users of BUYERS.
load() {
  local url=$FLASHSALE_API_URL line pair before after ours TIMEFORMAT='%U %S'
  local -a pace=()
  [[ $1 == /api/* ]] || url=$BARE_URL
  # Users of the first load have bought from the sale that is sold out. Redis and not the node would answer them.
  FIRST=$(((FIRST + 100000) % (TOKENS / 2)))
  ((FIRST >= 100000)) || FIRST=100000
  [[ -z ${PACE:-} ]] || pace=($((CONNECTIONS * 1000 / PACE)))
  ours=$(ours_so_far)
  before=$(cores)
  { time ${PACE:+env PACED=1} wrk -t2 "-c$CONNECTIONS" "-d${2}s" -s "$ROOT/loadtests/wrk/purchase.lua" "$url" -- "$BUYERS" "$FIRST" "$1" "$SKU" "${pace[@]:-0}" "$ITEMS" >"$BENCH/wrk" 2>&1; } 2>"$BENCH/wrk.time" || true
  after=$(cores)
  line=$(tail -n 1 "$BENCH/wrk")
  NOISE=$(awk -v a="$after" -v b="$before" -v t="$(<"$BENCH/wrk.time")" -v ours=$(($(ours_so_far) - ours)) \
    'BEGIN { split(a, x, " "); split(b, y, " "); split(t, w, " "); n = 100 * (x[1] - y[1] - ours - (w[1] + w[2]) * 1e6) / (x[2] - y[2]); printf "%d", (n > 0 ? n : 0) }')
  echo "$1 $line noise=$NOISE"
  [[ $line == SUMMARY* ]] || fail "wrk said: $line"
  R=()
  for pair in ${line#SUMMARY }; do R[${pair%%=*}]=${pair#*=}; done
}

# expect_only ok|refused: explains in INCONCLUSIVE when a run has other answers, since it measured something else then.
# A few requests may be cut off at the end.
expect_only() {
  local other=refused
  INCONCLUSIVE=''
  [[ $1 == ok ]] || other=ok
  ((R[$other] * 1000 <= R[requests] && R[socket_errors] + R[timeouts] <= 10)) ||
    INCONCLUSIVE="${R[ok]} answers of 2xx, ${R[refused]} others, ${R[socket_errors]} socket errors, ${R[timeouts]} timeouts"
}

load_bare() {
  load /bare "$SECONDS_EACH"
  record_cpu bare
  expect_only ok
  forget_bare
}

# The data that one bare run leaves in Redis must not weigh on the next.
forget_bare() { redis UNLINK 'bare:{b}:outbox'; }

# load_accept running|stopped: runs purchases and then lets the worker catch up.
load_accept() {
  local before during after began ended drained allocated
  before=$(sold "$ACCEPT")
  allocated=$(allocated_bytes)
  [[ $1 == running ]] || worker STOP
  set_now
  began=$NOW
  load "$(purchase_path "$ACCEPT")" "$SECONDS_EACH"
  during=$(sold "$ACCEPT")
  set_now
  ended=$NOW
  # With the worker running, its share of processor time covers the load only, not the work that it does afterwards.
  record_cpu "$1"
  [[ $1 == running ]] || worker CONT
  expect_only ok
  [[ $1 == running ]] || { record allocated_per_purchase "$(awk -v b="$allocated" -v a="$(allocated_bytes)" -v n="${R[requests]}" 'BEGIN { printf "%.0f", (a - b) / n }')"; }
  await_drained "$ACCEPT"
  set_now
  drained=$NOW
  after=$(sold "$ACCEPT")
  await_events
  [[ $1 == running ]] || return 0
  record persisted_while_loaded "$(((during - before) * 1000 / (ended - began)))"
  record persisted_end_to_end "$(((after - before) * 1000 / (drained - began)))"
}

load_bare_sold_out() {
  load /sold-out "$SECONDS_EACH"
  record_cpu bare_sold_out
  expect_only refused
}

load_sold_out() {
  local allocated
  allocated=$(allocated_bytes)
  load "$(purchase_path "$BACKLOG")" "$SECONDS_EACH"
  record_cpu sold_out
  expect_only refused
  record allocated_per_refusal "$(awk -v b="$allocated" -v a="$(allocated_bytes)" -v n="${R[requests]}" 'BEGIN { printf "%.0f", (a - b) / n }')"
}

allocated_bytes() { api_metric dotnet_gc_allocated_bytes_total; }

resident_bytes() { api_metric process_resident_memory_bytes; }

api_metric() { curl -s -m 5 "http://127.0.0.1:$((PORT[api] + 1000))/metrics" | awk -v name="$1" '$1 == name { printf "%.0f", $2 }'; }

# ---- figures ---------------------------------------------------------------------------------------------------------

# record NAME VALUE: adds a value to the figure NAME.
record() {
  FIGURES[$1]+="$2 "
  printf '%s %s\n' "$1" "$2"
}

last() { local all=${FIGURES[$1]% }; printf '%s' "${all##* }"; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

median() { tr ' ' '\n' <<<"${FIGURES[$1]:-}" | grep . | sort -g | awk '{ v[NR] = $1 } END { print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2) }'; }

# row LABEL NAME UNIT FLOOR GOAL more|less: prints a line of the table, judged by the median.
row() {
  local value verdict
  value=$(median "$2")
  verdict=$(awk -v v="$value" -v f="$4" -v g="$5" -v s="$6" 'BEGIN { if (s == "less") { v = -v; f = -f; g = -g } print (v >= g ? "goal" : v >= f ? "floor" : "BELOW") }')
  printf '| %s | **%s**%s | %s | %s | %s | %s |\n' "$1" "$value" "$3" "$4" "$5" "$verdict" "${FIGURES[$2]% }"
}

cpu_row() {
  local name label=$1
  [[ $1 != stopped && $1 != running ]] || label="accept, worker $1"
  printf '| %s |' "${label//_/ }"
  for name in bare api redis worker rabbitmq postgres; do printf ' %s |' "$(median "cpu_$1_$name")"; done
  echo
}

machine() {
  hardware
  printf '%s; PostgreSQL %s; RabbitMQ %s; .NET %s; wrk -t2 -c%s; load generator and all servers on this machine\n' \
    "$(redis INFO server | tr -d '\r' | sed -n 's/^redis_version:/Redis /p')" "$(sql 'show server_version')" \
    "$(dpkg-query -Wf '${Version}' rabbitmq-server 2>/dev/null || echo '?')" "$("$DOTNET" --version)" "$CONNECTIONS"
}

report() {
  cat <<REPORT
# Purchase path beside a bare endpoint, $(date -u +'%F %T') UTC

$(machine)
Commit: $(commit)
$ROUNDS rounds of $SECONDS_EACH s, alternating; medians, each round's figure behind them. Run again: \`./scripts/bench.sh\`

| what | median | floor | goal | reached | rounds |
|---|---|---|---|---|---|
$(row 'accepted/s beside bare, worker running' accept_running_ratio '' 0.75 1.0 more)
$(row 'accepted/s beside bare, worker stopped' accept_stopped_ratio '' 0.95 1.1 more)
$(row 'sold-out answers/s beside bare' sold_out_ratio '' 0.9 0.97 more)
$(row 'orders/s into Postgres, end to end (drain included)' persisted_end_to_end '/s' 16000 22000 more)
$(row 'orders/s into Postgres while wrk runs' persisted_while_loaded '/s' 16000 22000 more)
$(row 'backlog of 100,000 drained' drain_seconds ' s' 3 2 less)
$(row "accepted to persisted, p99, at $(last latency_rate)/s" persist_p99_ms ' ms' 1000 300 less)
$(row "202 after, p99, at $(last latency_rate)/s" accept_p99_ms ' ms' 10 5 less)
| the same of the bare endpoint, nothing else running | $(median bare_p99_ms) ms | | | | |
$(row 'bytes allocated in the Api per purchase' allocated_per_purchase '' 2500 2200 less)
$(row 'bytes allocated in the Api per sold-out answer' allocated_per_refusal '' 1000 900 less)
$(row 'Redis bytes per settled order' redis_bytes_per_order '' 200 120 less)

| rate | median/s | rounds |
|---|---|---|
$(for name in bare accept_running accept_stopped bare_sold_out sold_out; do printf '| %s | %s | %s |\n' "$name" "$(median "$name")" "${FIGURES[$name]% }"; done)

| processor time per request, microseconds | bare | api | redis | worker | rabbitmq | postgres |
|---|---|---|---|---|---|---|
$(for kind in bare stopped running bare_sold_out sold_out; do cpu_row "$kind"; done)

Others took $(median noise)% of the machine during the loads (each: ${FIGURES[noise]% }); above 8 a load was repeated, twice at most. Where some stayed far above, the rates mean little, and the processor times are too high.
Bare: a minimal endpoint with the framework's defaults: JSON read, one EVALSHA (DECRBY and XADD), JSON written; for sold-out answers a static body, nothing read. Bodies of the product's size, same Redis (appendfsync always), same requests.
An Api that has been at work holds $(last api_megabytes) MB, and $(last api_bytes_per_connection) bytes more for each of $CROWD shoppers who are connected and buy now and then.
Accepted to persisted is placed_at - accepted_at: Redis' time of the acceptance to the start of the transaction that stored it.
REPORT
}
