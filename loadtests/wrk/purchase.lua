-- purchase: one POST per request, each of another user and with a fresh Idempotency-Key.
-- wrk -s purchase.lua URL -- TOKENS FIRST PATH SKU [MEAN_DELAY_MS] [ITEMS]
--   TOKENS  file of `FlashSale.BareEndpoint tokens`    FIRST  number of the first token to use
--   ITEMS   number of skus, of which each request takes one at random: SKU and a number of five digits, from 00001
--   PATH    of the purchase, or /bare, /sold-out. The same bytes go to the product and to the bare endpoint.
-- Environment: PACED=1 lets each connection pause between requests, MEAN_DELAY_MS on average. It is meant for runs
--   below saturation.
--   STATUSES=1 counts each status. wrk then parses every answer, which slows it down, so it is not for measuring.
--   Without it the summary only tells 2xx and other answers apart.
-- Last line: a summary of KEY=value pairs.
-- wrk checks only once, after it has read this file, whether there is a delay or a response function. Therefore both
-- depend on the environment and not on the arguments.
local threads = {}

function setup(thread)
  thread:set('number', #threads)
  threads[#threads + 1] = thread
end

function init(args)
  local path, sku = args[3], args[4]
  items = tonumber(args[6] or 1)
  if items > 1 then sku = sku .. '00001' end
  local body = '{"sku":"' .. sku .. '","quantity":1}'
  file = assert(io.open(args[1], 'r'))
  line = #file:read('*l') + 1
  last = file:seek('end') / line
  -- The two threads (wrk -t2) start half the file apart, so they never use the same token within a run.
  local first = (tonumber(args[2]) + number * math.floor(last / 2)) % last
  file:seek('set', first * line)
  head = 'POST ' .. path .. ' HTTP/1.1\r\nHost: ' .. wrk.host .. '\r\nContent-Type: application/json\r\nContent-Length: ' .. #body .. '\r\nAuthorization: Bearer '
  tail = '\r\n\r\n' .. body
  before, after = '\r\n\r\n{"sku":"' .. args[4], '","quantity":1}'
  math.randomseed(os.time() * 1000 + number + math.floor(os.clock() * 1e6))
  key = '\r\nIdempotency-Key: ' .. string.format('%08x%08x-', math.random(0, 2 ^ 31 - 1), math.random(0, 2 ^ 31 - 1)) .. number .. '-'
  sent = 0
  mean = tonumber(args[5] or 0)
  statuses = {}
end

function request()
  local token = file:read('*l')
  if not token then
    file:seek('set', 0)
    token = file:read('*l')
  end
  sent = sent + 1
  if items > 1 then return head .. token .. key .. sent .. before .. string.format('%05d', math.random(items)) .. after end
  return head .. token .. key .. sent .. tail
end

if os.getenv('PACED') then
  function delay() return math.random(0, mean * 2) end
end

if os.getenv('STATUSES') then
  function response(status) statuses[status] = (statuses[status] or 0) + 1 end
end

function done(summary, latency)
  local errors = summary.errors
  local by_status, counts = {}, ''
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get('statuses')) do by_status[status] = (by_status[status] or 0) + count end
  end
  for status, count in pairs(by_status) do counts = counts .. ' status_' .. status .. '=' .. count end
  print(string.format('SUMMARY seconds=%.3f requests=%d ok=%d refused=%d socket_errors=%d timeouts=%d sent=%d rate=%.0f ok_rate=%.0f p50_ms=%.2f p99_ms=%.2f max_ms=%.1f%s',
    summary.duration / 1e6, summary.requests, summary.requests - errors.status, errors.status,
    errors.connect + errors.read + errors.write, errors.timeout, sent_by_all(), summary.requests / summary.duration * 1e6,
    (summary.requests - errors.status) / summary.duration * 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3, counts))
end

function sent_by_all()
  local sum = 0
  for _, thread in ipairs(threads) do sum = sum + thread:get('sent') end
  return sum
end
