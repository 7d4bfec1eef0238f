-- blocklist_swap: replaces the blocklist's stream by one that was filled from Postgres.
-- KEYS[1] fs:blocklist   KEYS[2] the filled stream, which expires unless it is swapped in
-- ARGV    none
-- Answers 1; 0 when the filled stream has expired.
-- Invariant: the blocklist's stream is complete or absent. Nodes see its new generation and read all of it.
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
redis.call('RENAME', KEYS[2], KEYS[1])
redis.call('PERSIST', KEYS[1])
redis.call('PUBLISH', KEYS[1], 'swapped')
return 1
