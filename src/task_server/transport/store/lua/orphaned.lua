-- Find the messages of a fetch whose reply was lost.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  1 what the fetch has written into their entries, verbatim
--
-- Returns their time as text, then delivery tags; nothing if there are none.
local reply = {}
for _, tag in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local entry = redis.call('HGET', KEYS[1], tag)
  if entry and entry:find(ARGV[1], 1, true) then
    reply[1] = reply[1] or redis.call('ZSCORE', KEYS[2], tag)
    reply[#reply + 1] = tag
  end
end
return reply
