#!/usr/bin/env bash
# Measures whether a purchase costs more as a sale grows: with its orders, its items, its users, and with the load.
# See --help.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"
# shellcheck source=lib/runs.sh
. "$LIB/runs.sh"
# shellcheck source=lib/bench.sh
. "$LIB/bench.sh"

usage() {
  cat <<'HELP'
usage: scripts/growth.sh [--port-base N] [--seconds N] [--orders N]

Brings up a stack of its own (--port-base, default 18080) and loads it with wrk: one sale at 10,000 orders and more, up to --orders (default
2,000,000), sales of 1, 100 and 10,000 items, sales bought from by 1, 1,000 and 1,000,000 users, and one sale at 10 % to 90 % of what the stack
can do. Writes loadtests/results/<date>-growth.md, and tables (CSV) and charts (SVG) into loadtests/charts. About 12 minutes. Leaves nothing running.

What counts is processor time per purchase, which other work on the machine hardly moves. Exits with 1 when the books do not balance.
HELP
}

parse() {
  BASE_ASKED=18080 SECONDS_EACH=5 MOST_ORDERS=2000000
  while (($#)); do
    case $1 in
      --port-base) BASE_ASKED=${2:-none}; shift $(($# > 1 ? 2 : 1)) ;;
      --seconds) SECONDS_EACH=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      --orders) MOST_ORDERS=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; fail "unknown argument: $1" ;;
    esac
  done
  [[ $SECONDS_EACH =~ ^[1-9][0-9]?$ ]] || fail "--seconds $SECONDS_EACH: must be a number from 1 to 99"
  [[ $MOST_ORDERS =~ ^[1-9][0-9]{4,7}$ ]] || fail "--orders $MOST_ORDERS: must be a number from 10000 to 99999999"
}

prepare_growth() {
  CHARTS=$ROOT/loadtests/charts
  install -d "$CHARTS"
  # Rate limits are lifted, since this measures the cost of purchases, also of many purchases by one user.
  admin_ok PUT /api/v1/ops/limits '{"rules":[]}'
  new_sale warm 1000000
  load "$(purchase_path "$SALE")" 5
  await_drained "$SALE"
  await_events
}

# new_wide_sale NAME STOCK ITEMS: like new_sale, with numbered items when ITEMS is more than 1. Sets SALE and ITEMS.
new_wide_sale() {
  local csv=$BENCH/items.csv
  ITEMS=$3
  if ((ITEMS == 1)); then
    new_sale "$1" "$2"
    return
  fi
  awk -v n="$ITEMS" -v stock="$2" -v sku="$SKU" 'BEGIN { print "sku,name,price,listPrice,currency,stock,perUserLimit"; for (i = 1; i <= n; i++) printf "%s%05d,Item %d,9900,,CNY,%d,1000\n", sku, i, i, stock / n }' >"$csv"
  admin_ok POST /api/v1/sales "{\"name\":\"Bench $1\",\"opensAt\":\"$(utc '+1 hour')\",\"closesAt\":\"$(utc '+1 day')\",\"items\":[]}"
  SALE=$(json_text saleId)
  curl -sS -m 60 -o "$BENCH/answer" -f -X POST "$FLASHSALE_ADMIN_URL/api/v1/sales/$SALE/items:import" -H "Authorization: Bearer $FLASHSALE_ADMIN_TOKEN" -H 'Content-Type: text/csv' \
    --data-binary @"$csv" || fail "items were not imported: $(head -c 300 "$BENCH/answer")"
  open_sale "$SALE"
}

# point TABLE X: runs a load on SALE and adds its costs as a line to TABLE.csv.
point() {
  local script requests before
  redis CONFIG RESETSTAT
  before=$(sold "$SALE")
  settle
  cpu_now
  load "$(purchase_path "$SALE")" "$SECONDS_EACH"
  await_drained "$SALE"
  record_cpu growth
  script=$(redis INFO commandstats | tr -d '\r' | sed -n 's/^cmdstat_evalsha:.*usec=\([0-9]*\),.*/\1/p')
  requests=$(($(sold "$SALE") - before))
  await_events
  ((requests * 1000 >= R[requests] * 990)) || fail "inconclusive: ${R[requests]} purchases, $requests of them accepted"
  script=$(awk -v u="$script" -v n="$requests" 'BEGIN { printf "%.1f", u / n }')
  line "$1" "$2,$(last cpu_growth_api),$(last cpu_growth_redis),$(last cpu_growth_worker),$(last cpu_growth_postgres),$script"
  ROWS+=$(printf '\n| %s | %s | %s | %s | %s | %s | %s | %s |' "$1" "$2" "${R[ok_rate]}" "$(last cpu_growth_api)" "$(last cpu_growth_redis)" "$script" "$(last cpu_growth_worker)" "$(last cpu_growth_postgres)")
  STEP_NOTE="${R[ok_rate]}/s; Api $(last cpu_growth_api), Redis $(last cpu_growth_redis) (scripts $script), Worker $(last cpu_growth_worker), Postgres $(last cpu_growth_postgres) us"
}

# warm_point TABLE X: warms up a sale from which nobody has bought yet, then does the same as point.
warm_point() {
  load "$(purchase_path "$SALE")" 2
  await_drained "$SALE"
  point "$@"
}

line() { echo "$2" >>"$CHARTS/$1.csv"; }

begin_table() { echo "$2" >"$CHARTS/$1.csv"; }

# fill ORDERS: runs loads until SALE has sold ORDERS units.
fill() {
  local left
  while left=$(($1 - $(sold "$SALE"))) && ((left > 0)); do
    load "$(purchase_path "$SALE")" "$((left / 20000 < 2 ? 2 : left / 20000 > 30 ? 30 : left / 20000))"
    await_drained "$SALE"
  done
  await_events
  STEP_NOTE="$(sold "$SALE") orders"
}

open_growing_sale() {
  new_wide_sale orders $((MOST_ORDERS + 2000000)) 1
  GROWN=$SALE
}

grow_orders() {
  local at
  begin_table orders 'orders,Api,Redis,Worker,Postgres,scripts in Redis'
  step orders 'a sale of many' open_growing_sale
  for at in $(printf '%s\n' 10000 100000 500000 1000000 "$MOST_ORDERS" | sort -nu); do
    ((at <= MOST_ORDERS)) || continue
    step fill "to $at orders" fill "$at"
    step orders "$at" point orders "$at"
  done
  step bytes 'of an order' measure_bytes
}

measure_bytes() {
  ORDERS_AT_LAST=$(sold "$GROWN")
  REDIS_BYTES=$(($(redis_bytes "$GROWN") / ORDERS_AT_LAST))
  sql 'vacuum analyze'
  POSTGRES_BYTES=$(($(sql "select sum(pg_total_relation_size(t::regclass)) from unnest(array['orders', 'user_quota', 'order_event']) t") / $(sql 'select count(*) from orders')))
  STEP_NOTE="Redis $REDIS_BYTES, Postgres $POSTGRES_BYTES"
}

items_point() {
  new_wide_sale items 2000000 "$1"
  warm_point items "$1"
}

users_point() {
  head -n "$1" "$BENCH/tokens" >"$BENCH/buyers"
  BUYERS=$BENCH/buyers
  SKU_LIMIT=1000000 new_wide_sale users 5000000 1
  (($1 < TOKENS)) || all_buy_once "$1"
  warm_point users "$1"
  BUYERS=$BENCH/tokens
}

# all_buy_once USERS: runs loads until 99 % of the users have bought from SALE. A load of a few seconds reaches a tenth
# of a million users. The costs of a crowd show only when all users have left something in the stores.
all_buy_once() {
  local bought=0 try
  # Loads can begin at four places of the file of tokens, so a fifth load would reach no new users.
  for try in 1 2 3 4; do
    load "$(purchase_path "$SALE")" "$(($1 / 16000))"
    await_drained "$SALE"
    bought=$(sql "select count(distinct user_id) from user_quota where sale_id = '$SALE'")
    echo "load $try: $bought of $1 have bought"
    ((bought * 100 < $1 * 99)) || break
  done
  ((bought * 100 >= $1 * 99)) || fail "only $bought of $1 have bought"
  await_events
}

find_capacity() {
  new_wide_sale latency 3000000 1
  load "$(purchase_path "$SALE")" "$SECONDS_EACH"
  CAPACITY=${R[ok_rate]}
  await_drained "$SALE"
  STEP_NOTE="$CAPACITY purchases/s"
}

latency_point() {
  await_events
  settle
  PACE=$((CAPACITY * $1 / 100)) load "$(purchase_path "$SALE")" "$SECONDS_EACH"
  await_drained "$SALE"
  line latency "${R[ok_rate]},${R[p50_ms]},${R[p99_ms]}"
  LATENCIES+=$(printf '\n| %s %% | %s | %s | %s |' "$1" "${R[ok_rate]}" "${R[p50_ms]}" "${R[p99_ms]}")
  STEP_NOTE="${R[ok_rate]}/s: p50 ${R[p50_ms]} ms, p99 ${R[p99_ms]} ms"
}

draw() {
  local loadtests=$BENCH/loadtests
  build_project FlashSale.LoadTests "$loadtests"
  chart() { "$DOTNET" "$loadtests/FlashSale.LoadTests.dll" chart "$CHARTS/$1.csv" "$CHARTS/$1.svg" "${@:2}"; }
  chart orders --title 'Processor time per purchase over the orders of a sale' --x 'orders in the sale' --y microseconds --log-x
  chart items --title 'Processor time per purchase over the items of a sale' --x 'items in the sale' --y microseconds --log-x
  chart users --title 'Processor time per purchase over the users who buy' --x users --y microseconds --log-x
  chart latency --title 'Time to the 202 over the load' --x 'purchases a second' --y milliseconds
}

growth_report() {
  cat <<REPORT
# What a purchase costs as a sale grows, $(date -u +'%F %T') UTC

$(machine)
Commit: $(commit)
Loads of $SECONDS_EACH s by wrk on $CONNECTIONS connections. Processor time in microseconds per purchase, until it was in Postgres and settled; scripts: the part of Redis' that is reserve.lua
and settle.lua. Run again: \`./scripts/growth.sh --seconds $SECONDS_EACH --orders $MOST_ORDERS\`

| grows | to | accepted/s | Api | Redis | scripts | Worker | Postgres |
|---|---|---|---|---|---|---|---|$ROWS

Bytes per order at $ORDERS_AT_LAST orders: **$REDIS_BYTES** in Redis (settled, all keys of the sale), **$POSTGRES_BYTES** in Postgres (orders, quotas and events, with their indexes).

| load | purchases/s | 202 after, p50, ms | p99, ms |
|---|---|---|---|$LATENCIES
REPORT
}

growth_books() {
  BACKLOG=$GROWN ACCEPT=$SALE
  check_books
}

main() {
  local n
  ROWS='' LATENCIES=''
  parse "$@"
  own_stack "$BASE_ASKED"
  guard
  trap 'CODE=$?; take_down; on_exit "$CODE"' EXIT
  bring_up
  RESULT=${RESULT%-bench.md}-growth.md
  step warm 'the stack' prepare_growth
  begin_table items 'items,Api,Redis,Worker,Postgres,scripts in Redis'
  for n in 1 100 10000; do step items "$n" items_point "$n"; done
  begin_table users 'users,Api,Redis,Worker,Postgres,scripts in Redis'
  for n in 1 1000 1000000; do step users "$n" users_point "$n"; done
  step capacity 'what the stack can do' find_capacity
  begin_table latency 'purchases/s,p50,p99'
  # The connections are closed loops with pauses. Below saturation they wait for nothing, so they measure the same as an
  # open loop.
  for n in 10 25 50 75 90; do step load "$n % of it" latency_point "$n"; done
  grow_orders
  step books 'comparing Redis and Postgres' growth_books
  step charts 'loadtests/charts' draw
  growth_report | tee "$RESULT" >&3
  say "written to $(relative "$RESULT")"
}

main "$@"
