#!/usr/bin/env bash
# Measures the purchase path beside a bare endpoint, on a stack of its own. See --help.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"
# shellcheck source=lib/runs.sh
. "$LIB/runs.sh"
# shellcheck source=lib/bench.sh
. "$LIB/bench.sh"

usage() {
  cat <<'HELP'
usage: scripts/bench.sh [--port-base N] [--rounds N] [--seconds N] [--figures FILE]

Brings up a stack of its own (--port-base, default 18080), and in one run, alternating, loads with wrk: a bare Kestrel endpoint with one EVALSHA,
the product's purchases with the worker running and with the worker stopped, a bare endpoint with the bytes of a sold-out answer, and the
product's sold-out answers. Prints medians and ratios beside the floors and goals of the design, and writes them to
loadtests/results/<date>-bench.md. Takes about 4 minutes with the default 3 rounds of 5 seconds, two more when others work
on the machine (it waits for them, and repeats what they disturbed). Leaves nothing running. With --figures the medians also go into
that file, from which events are planned (loadtests/results/figures.json).

Keep the machine quiet: rates move with whatever else runs, ratios less so. Exits with 1 when the books do not balance or a run was inconclusive
(other answers than expected); a figure below its floor is told, and is no failure.
HELP
}

parse() {
  BASE_ASKED=18080 ROUNDS=3 SECONDS_EACH=5 PLAN_FIGURES=''
  while (($#)); do
    case $1 in
      --port-base) BASE_ASKED=${2:-none}; shift $(($# > 1 ? 2 : 1)) ;;
      --rounds) ROUNDS=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      --seconds) SECONDS_EACH=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      --figures) PLAN_FIGURES=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; fail "unknown argument: $1" ;;
    esac
  done
  [[ $ROUNDS =~ ^[1-9][0-9]?$ ]] || fail "--rounds $ROUNDS: must be a number from 1 to 99"
  [[ $SECONDS_EACH =~ ^[1-9][0-9]?$ ]] || fail "--seconds $SECONDS_EACH: must be a number from 1 to 99"
  [[ -z $PLAN_FIGURES || -f $PLAN_FIGURES ]] || fail "--figures $PLAN_FIGURES: there is no such file"
}

# Measures how fast a backlog of 100,000 orders drains and how many bytes an order takes, and leaves a sold-out sale.
measure_backlog() {
  local began before waiting stored
  new_sale backlog 100000
  BACKLOG=$SALE
  before=$(redis_bytes "$BACKLOG")
  stored=$(postgres_bytes)
  purchase_once "$BACKLOG" 202
  ACCEPTED_BYTES=$BODY_BYTES
  worker STOP
  load_until_sold_out "$BACKLOG"
  waiting=$(redis_bytes "$BACKLOG")
  set_now
  began=$NOW
  worker CONT
  await_drained "$BACKLOG"
  set_now
  record drain_seconds "$(awk -v ms=$((NOW - began)) 'BEGIN { printf "%.2f", ms / 1000 }')"
  await_events
  record redis_bytes_per_order "$((($(redis_bytes "$BACKLOG") - before) / 100000))"
  record redis_bytes_in_flight "$(((waiting - before) / 100000 - $(last redis_bytes_per_order)))"
  record postgres_bytes_per_order "$((($(postgres_bytes) - stored) / 100000))"
  purchase_once "$BACKLOG" 409
  SOLD_OUT_BYTES=$BODY_BYTES
  STEP_NOTE="$(last drain_seconds) s for 100,000, $(last redis_bytes_per_order) bytes of Redis each"
}

postgres_bytes() { sql "select sum(pg_total_relation_size(oid)) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"; }

warm_up() {
  new_sale accept 4000000
  ACCEPT=$SALE
  start_bare
  # The first thousands of requests run code that .NET has not compiled fully yet.
  load "$(purchase_path "$ACCEPT")" 4
  load /bare 3
  load "$(purchase_path "$BACKLOG")" 3
  load /sold-out 2
  await_drained "$ACCEPT"
  await_events
  forget_bare
}

measure_round() {
  local bare
  quietly load_bare
  bare=${R[ok_rate]}
  record bare "$bare"
  quietly load_accept running
  record accept_running "${R[ok_rate]}"
  record accept_running_ratio "$(ratio "${R[ok_rate]}" "$bare")"
  quietly load_accept stopped
  record accept_stopped "${R[ok_rate]}"
  record accept_stopped_ratio "$(ratio "${R[ok_rate]}" "$bare")"
  quietly load_bare_sold_out
  bare=${R[rate]}
  record bare_sold_out "$bare"
  quietly load_sold_out
  record sold_out "${R[rate]}"
  record sold_out_ratio "$(ratio "${R[rate]}" "$bare")"
  STEP_NOTE="accept $(last accept_running_ratio) and $(last accept_stopped_ratio) (worker stopped), sold out $(last sold_out_ratio) of bare; $(last persisted_end_to_end) orders/s persisted"
}

load_bare_paced() {
  PACE=$1 load /bare 5
  expect_only ok
  record bare_p99_ms "${R[p99_ms]}"
  forget_bare
}

load_accept_paced() {
  PACE=$1 load "$(purchase_path "$ACCEPT")" 8
  expect_only ok
  await_drained "$ACCEPT"
}

# At half the rate that Postgres keeps up with, a shopper should wait neither for the 202 nor for the order.
measure_latency() {
  local since target
  target=$(awk -v r="$(median persisted_end_to_end)" 'BEGIN { printf "%d", r / 2 }')
  quietly load_bare_paced "$target"
  redis CONFIG RESETSTAT
  since=$(sql 'select extract(epoch from clock_timestamp())')
  quietly load_accept_paced "$target"
  # A purchase may have to wait for the longest scripts, so their times are logged.
  redis LATENCY HISTOGRAM evalsha
  record latency_rate "${R[ok_rate]}"
  record accept_p99_ms "${R[p99_ms]}"
  record persist_p99_ms "$(sql "select round(extract(epoch from percentile_cont(0.99) within group (order by placed_at - accepted_at)) * 1000)
    from orders where sale_id = '$ACCEPT' and accepted_at >= to_timestamp($since)")"
  STEP_NOTE="at ${R[ok_rate]}/s: 202 after $(last accept_p99_ms) ms, in Postgres after $(last persist_p99_ms) ms (p99)"
}

# Sets CROWD: the most connections that the Api and wrk may both have open here, 10,000 at most.
count_crowd() {
  ulimit -Sn "$(ulimit -Hn)"
  CROWD=$(($(ulimit -n) / 2))
  ((CROWD < 10000)) || CROWD=10000
}

# Measures how much memory the Api holds for shoppers that are connected and seldom act.
measure_connections() {
  local before looker during
  before=$(resident_bytes)
  { sleep 6 && resident_bytes >"$BENCH/connected"; } &
  looker=$!
  CONNECTIONS=$CROWD PACE=$((CROWD / 5)) load "$(purchase_path "$ACCEPT")" 8
  expect_only ok
  [[ -z $INCONCLUSIVE ]] || fail "inconclusive: $INCONCLUSIVE"
  wait "$looker"
  during=$(<"$BENCH/connected")
  await_drained "$ACCEPT"
  record api_megabytes "$((before >> 20))"
  record api_bytes_per_connection "$(((during - before) / CROWD))"
  STEP_NOTE="the Api holds $(last api_megabytes) MB, and $(last api_bytes_per_connection) bytes for each of $CROWD shoppers connected"
}

# refresh_figures FILE: writes the costs of a purchase for each part into FILE, from which events are planned.
refresh_figures() {
  build_project FlashSale.LoadTests "$BENCH/runner"
  "$DOTNET" "$BENCH/runner/FlashSale.LoadTests.dll" figures --figures "$1" \
    "source=$(utc now), $(machine | head -n 1), load generator and all servers on the same machine (scripts/bench.sh); sizes are those of orders not yet paid" \
    "measuredCores=$(nproc)" \
    "acceptedPerSecond=$(median accept_running)" "persistedPerSecond=$(median persisted_end_to_end)" \
    "apiMicrosecondsPerPurchase=$(median cpu_running_api)" "apiMicrosecondsPerSoldOut=$(median cpu_sold_out_api)" \
    "redisMicrosecondsPerPurchase=$(median cpu_running_redis)" "rabbitMqMicrosecondsPerOrder=$(median cpu_running_rabbitmq)" \
    "workerMicrosecondsPerOrder=$(median cpu_running_worker)" "postgresMicrosecondsPerOrder=$(median cpu_running_postgres)" \
    "redisBytesPerOrder=$(last redis_bytes_per_order)" "redisBytesPerOrderInFlight=$(last redis_bytes_in_flight)" \
    "postgresBytesPerOrder=$(last postgres_bytes_per_order)" \
    "apiMegabytes=$(last api_megabytes)" "apiBytesPerConnection=$(last api_bytes_per_connection)" "measuredConnections=$CROWD" || fail "the figures could not be refreshed"
}

main() {
  local round
  parse "$@"
  count_crowd
  own_stack "$BASE_ASKED"
  guard
  trap 'CODE=$?; take_down; on_exit "$CODE"' EXIT
  bring_up
  step backlog '100,000 orders wait for the worker' measure_backlog
  step warm 'warming both up' warm_up
  for ((round = 1; round <= ROUNDS; round++)); do step "round $round" "5 loads of $SECONDS_EACH s" measure_round; done
  step latency 'at half the persisted rate' measure_latency
  step crowd "$CROWD shoppers connected" measure_connections
  step books 'comparing Redis and Postgres' check_books
  report | tee "$RESULT" >&3
  [[ -z $PLAN_FIGURES ]] || step figures "$PLAN_FIGURES" refresh_figures "$PLAN_FIGURES"
  say "written to $(relative "$RESULT")"
}

main "$@"
