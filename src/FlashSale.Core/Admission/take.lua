-- take: takes tokens from the buckets of all rules that match a request, or from no bucket.
-- KEYS  one bucket per rule: hash of tokens, at (ms), rejections, since (ms), blocked (ms). It expires when it holds no
--       more information than a new bucket.
-- ARGV  per rule: capacity, refill per ms, cost, monitor only (1|0),
--       penalty: rejections (0 = no penalty), within ms, block ms
-- Answers per rule two numbers: the tokens left (-1: refused, -2: a monitor-only rule would refuse), and ms to wait.
-- Invariant: when a rule that is not monitor-only refuses, no bucket loses a token. Refusals are counted all the same.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local buckets, refused = {}, false

for i, key in ipairs(KEYS) do
    local a = (i - 1) * 7
    local b = {
        capacity = tonumber(ARGV[a + 1]), refill = tonumber(ARGV[a + 2]), cost = tonumber(ARGV[a + 3]), watched = ARGV[a + 4] == '1',
        most = tonumber(ARGV[a + 5]), within = tonumber(ARGV[a + 6]), block = tonumber(ARGV[a + 7]),
    }
    local kept = redis.call('HMGET', key, 'tokens', 'at', 'rejections', 'since', 'blocked')
    b.tokens = math.min(b.capacity, tonumber(kept[1] or b.capacity) + math.max(0, now - tonumber(kept[2] or now)) * b.refill)
    b.rejections, b.since, b.blocked = tonumber(kept[3] or 0), tonumber(kept[4] or now), tonumber(kept[5] or 0)
    b.short = b.blocked > now or b.tokens < b.cost
    if b.short and not b.watched then refused = true end
    buckets[i] = b
end

local answer = {}
for i, key in ipairs(KEYS) do
    local b = buckets[i]
    local wait = 0
    if b.short then
        if b.blocked <= now and b.most > 0 then
            if b.rejections == 0 or now - b.since > b.within then b.rejections, b.since = 0, now end
            b.rejections = b.rejections + 1
            if b.rejections >= b.most then b.rejections, b.blocked = 0, now + b.block end
        end
        wait = b.blocked > now and b.blocked - now or math.ceil((b.cost - b.tokens) / b.refill)
    elseif not refused then
        b.tokens = b.tokens - b.cost
    end
    -- 17 digits tell a double exactly, so no part of a token is lost in the text.
    redis.call('HSET', key, 'tokens', string.format('%.17g', b.tokens), 'at', string.format('%.0f', now), 'rejections', b.rejections,
        'since', string.format('%.0f', b.since), 'blocked', string.format('%.0f', b.blocked))
    local life = math.max((b.capacity - b.tokens) / b.refill, b.blocked - now, b.rejections > 0 and b.within or 0)
    redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(life) + 1000))
    answer[#answer + 1] = b.short and (b.watched and -2 or -1) or math.floor(b.tokens)
    answer[#answer + 1] = wait
end
return answer
