-- Find the messages of a fetch whose reply was lost.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  1 what the fetch has written into their entries, verbatim   2 first   3 how many
--
-- Returns how many messages were scanned, at most a megabyte of them; the time of
-- those that were found, as text, or ''; then their delivery tags.
local reply, bytes = {0, ''}, 1048576
local first = tonumber(ARGV[2])
for place, tag in ipairs(redis.call('ZRANGE', KEYS[2], first, first + tonumber(ARGV[3]) - 1)) do
  local entry = redis.call('HGET', KEYS[1], tag) or ''
  bytes = bytes - #entry
  local tail, mark = owner_in(entry)
  if mark and tail:find(ARGV[1], 1, true) then
    reply[2] = reply[2] ~= '' and reply[2] or redis.call('ZSCORE', KEYS[2], tag)
    reply[#reply + 1] = tag
  end
  reply[1] = place
  if bytes <= 0 then
    break
  end
end
return reply
