# shellcheck shell=bash
# Makes a demo sale through the Admin API, and a curl command that buys from it.

JWT_KID=local-1
DEMO_SKU=demo-phone

base64url() { base64 -w0 | tr '+/' '-_' | tr -d '='; }

# shopper_token SUBJECT SECONDS: prints a token of that shopper, good for SECONDS.
shopper_token() {
  local head body
  head=$(printf '{"alg":"HS256","typ":"JWT","kid":"%s"}' "$JWT_KID" | base64url)
  body=$(printf '{"iss":"%s","aud":"%s","sub":"%s","iat":%(%s)T,"exp":%d}' "${SETTING[FLASHSALE_JWT_ISSUER]}" "${SETTING[FLASHSALE_JWT_AUDIENCE]}" "$1" -1 $((EPOCHSECONDS + $2)) | base64url)
  printf '%s.%s.%s' "$head" "$body" "$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -hmac "${SETTING[FLASHSALE_JWT_KEY]}" -binary | base64url)"
}

# admin METHOD PATH [BODY]: sets ANSWER and CODE. It repeats a 503 for 20 s: Admin changed nothing then, because a store
# has just been started again.
admin() { wait_until 20 admin_answers "$@" || true; }

# The token goes through a file descriptor, since others may read the command line.
admin_answers() {
  local -a body=()
  [[ -z ${3:-} ]] || body=(-H 'Content-Type: application/json' --data "$3")
  ANSWER=$(curl -sS -m 30 -X "$1" "${body[@]}" -w '\n%{http_code}' -K - "http://127.0.0.1:${PORT[admin]}$2" <<<"header = \"Authorization: Bearer ${SETTING[FLASHSALE_ADMIN_TOKEN]}\"") ||
    fail "Admin API: $1 $2 was not answered" "$LOGS/admin.log"
  CODE=${ANSWER##*$'\n'}
  ANSWER=${ANSWER%$'\n'*}
  printf '%s %s -> %s %s\n' "$1" "$2" "$CODE" "$ANSWER"
  [[ $CODE != 503 ]]
}

admin_ok() {
  admin "$@"
  [[ $CODE == 20? ]] || fail "Admin API: $1 $2 answered $CODE: ${ANSWER:0:300}" "$LOGS/admin.log"
}

# json_text NAME: prints the first text of that name in ANSWER.
json_text() { grep -o "\"$1\" *: *\"[^\"]*\"" <<<"$ANSWER" | head -n1 | sed 's/.*: *"\(.*\)"/\1/'; }

# demo_step: makes the sale, and the command that buys from it.
demo_step() {
  demo_sale
  write_buy_script
}

# demo_sale: opens the sale of the last time if it can still sell, else a new one. A sale that was left half made is
# finished.
demo_sale() {
  local status=none id=${SETTING[DEMO_SALE]:-}
  if [[ -n $id ]]; then
    admin GET "/api/v1/sales/$id"
    case $CODE in
      200) status=$(json_text status) ;;
      404) status=none ;;
      *) fail "Admin API: the demo sale cannot be read: $CODE ${ANSWER:0:300}" "$LOGS/admin.log" ;;
    esac
  fi
  STEP_NOTE="$id is open"
  case $status in
    open) return ;;
    paused) admin_ok POST "/api/v1/sales/$id/resume"; STEP_NOTE="$id resumed"; return ;;
    draft) admin_ok POST "/api/v1/sales/$id/preload" ;;
    preloaded | scheduled | loaded) ;;
    *) demo_sale_new; id=${SETTING[DEMO_SALE]} ;;
  esac
  admin_ok POST "/api/v1/sales/$id/open"
  STEP_NOTE="$id opened"
}

demo_sale_new() {
  admin_ok POST /api/v1/sales "$(demo_sale_body)"
  remember DEMO_SALE "$(json_text saleId)"
  admin_ok POST "/api/v1/sales/${SETTING[DEMO_SALE]}/preload"
}

# The sale opens by itself in an hour, when preloading is over, and stays open for a year.
demo_sale_body() {
  cat <<JSON
{"name":"Demo flash sale","opensAt":"$(utc '+1 hour')","closesAt":"$(utc '+1 year')","perUserLimit":5,"items":[
 {"sku":"$DEMO_SKU","name":"Demo phone","price":{"amount":199900,"currency":"CNY"},"listPrice":{"amount":399900,"currency":"CNY"},"stock":100000,"perUserLimit":2},
 {"sku":"demo-earbuds","name":"Demo earbuds","price":{"amount":9900,"currency":"CNY"},"listPrice":{"amount":29900,"currency":"CNY"},"stock":100000,"perUserLimit":5}]}
JSON
}

utc() { date -u -d "$1" +%FT%TZ; }

# buy_command: prints the command with a new shopper and key. When the command is run again it is a retry and gets the
# same answer.
buy_command() {
  local id
  id=$(random_hex 4)
  cat <<CURL
curl -sS -w '\n' -X POST 'http://127.0.0.1:${PORT[api]}/api/v1/sales/${SETTING[DEMO_SALE]}/orders' \\
  -H 'Authorization: Bearer $(shopper_token "demo-shopper-$id" 604800)' \\
  -H 'Idempotency-Key: demo-$id' -H 'Content-Type: application/json' \\
  -d '{"sku":"$DEMO_SKU","quantity":1}'
CURL
}

write_buy_script() {
  (umask 077 && { printf '#!/bin/sh\n'; buy_command; } >"$STACK/buy.sh")
  chmod 0700 "$STACK/buy.sh"
}
