-- remember_beat: remembers the last heartbeat of Postgres that a worker saw.
-- KEYS[1] fs:postgres: hash system, timeline, lineage, beat, lsn, number, at, kept
--                                                                               (layout: Ledger/PostgresMemory.cs)
-- ARGV  1 system identifier  2 timeline  3 lineage  4 beat  5 lsn  6 highest sale number
--   7 when the beat was counted (Redis TIME, Unix ms)  8 whether this worker keeps settled reservations (1 | 0)
--   9 whether the beat may replace that of another Postgres (1 | 0)
-- Answers 1, or 0 when Redis remembers another Postgres, which stays.
-- Invariant: a late call brings back neither an earlier beat nor another Postgres than the one seen last.
local seen = redis.call('HMGET', KEYS[1], 'system', 'timeline', 'lineage', 'beat', 'number')
local is_same = seen[1] == ARGV[1] and seen[2] == ARGV[2] and seen[3] == ARGV[3]
if seen[1] and not is_same and ARGV[9] ~= '1' then return 0 end
if ARGV[8] == '1' then redis.call('HSETNX', KEYS[1], 'kept', ARGV[7]) else redis.call('HDEL', KEYS[1], 'kept') end
if is_same and tonumber(seen[4]) >= tonumber(ARGV[4]) and ARGV[9] ~= '1' then return 1 end
local number = ARGV[6]
if seen[5] and tonumber(seen[5]) > tonumber(number) then number = seen[5] end
redis.call('HSET', KEYS[1], 'system', ARGV[1], 'timeline', ARGV[2], 'lineage', ARGV[3], 'beat', ARGV[4], 'lsn', ARGV[5], 'number', number, 'at', ARGV[7])
return 1
