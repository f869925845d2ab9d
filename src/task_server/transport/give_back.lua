-- Put messages back to where they were taken from, as if never taken.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  four by four: delivery tag, list, text, what the fetch has written into
--       the entry; last taken first
--
-- Returns the number of messages that were put back. One that another worker
-- has restored meanwhile is in a list again, held by that one, or done.
local count = 0
for i = 1, #ARGV, 4 do
  local tag, list, text, held = unpack(ARGV, i, i + 3)
  local entry = redis.call('HGET', KEYS[1], tag)
  -- Into a text that does not end as an object the fetch writes nothing.
  if entry and (entry:find(held, 1, true) or text:sub(-1) ~= '}') then
    redis.call('RPUSH', list, text)
    redis.call('ZREM', KEYS[2], tag)
    redis.call('HDEL', KEYS[1], tag)
    count = count + 1
  end
end
return count
