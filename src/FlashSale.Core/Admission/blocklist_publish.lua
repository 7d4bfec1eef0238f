-- blocklist_publish: appends changes of the blocklist to its stream, and returns the stream's highest version.
-- KEYS[1] fs:blocklist, or a stream that will take its place: stream, entry id version-0, e -> BlockChange. The first
--         entry is 0-1 and names the stream's generation. The key is also the channel that announces a change.
-- ARGV    base, then for each change, by rising version: version, BlockChange, the version that it replaces
--         ('' = no version)
-- Answers the stream's highest version after the call; -1 when there is no stream.
-- Invariant: a stream that holds a change has held every earlier change that is still in force. So the script appends
--   only if the stream has all changes up to base, it appends no change twice, and never to a stream that was lost.
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
