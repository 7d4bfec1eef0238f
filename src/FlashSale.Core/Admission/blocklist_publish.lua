-- blocklist_publish: appends changes of the blocklist to its stream, and tells where the stream stands.
-- KEYS[1] fs:blocklist, or a stream that is to take its place: stream, entry id version-0, e -> BlockChange; the first
--         entry is 0-1 and names the stream's generation. Also the channel that announces a change.
-- ARGV    base, then for each change, by rising version: version, BlockChange, the version it takes the place of ('' = none)
-- Answers the stream's highest version after the call; -1 when there is no stream.
-- Invariant: a stream that holds a change has held every earlier one that still stands. So nothing is appended unless all up
-- to base is there; what is there is not appended again; and nothing is ever appended to a stream that was lost.
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local top
for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then top = tonumber(string.match(info[i + 1], '^%d+')) end
end
if top < tonumber(ARGV[1]) or #ARGV == 1 then return top end
for i = 2, #ARGV, 3 do
    if tonumber(ARGV[i]) > top then redis.call('XADD', KEYS[1], ARGV[i] .. '-0', 'e', ARGV[i + 1]) end
    if ARGV[i + 2] ~= '' then redis.call('XDEL', KEYS[1], ARGV[i + 2] .. '-0') end
end
redis.call('PUBLISH', KEYS[1], ARGV[#ARGV - 2])
return math.max(top, tonumber(ARGV[#ARGV - 2]))
