-- Deliver unacked messages again, each once however many workers try.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  1 RPUSH (next to be taken) or LPUSH (last)
--       2 only messages whose time is not after this, seconds; '' for any
--       3… three by three: delivery tag, list, text; a message that goes to
--          several lists comes several times in a row; list '' only forgets
--          a tag that has no message
--
-- Returns the number of messages that were pushed.
local push, latest = ARGV[1], tonumber(ARGV[2])
local restored, last, due = 0, nil, false
for i = 3, #ARGV, 3 do
  local tag, list, text = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if tag ~= last then
    last = tag
    due = true
    if latest then
      -- Its worker gave a sign of life meanwhile, or another restored it.
      local time = redis.call('ZSCORE', KEYS[2], tag)
      due = time and tonumber(time) <= latest
    end
    if due and redis.call('HEXISTS', KEYS[1], tag) == 0 then
      redis.call('ZREM', KEYS[2], tag)
      due = false
    end
    restored = restored + ((due and list ~= '') and 1 or 0)
  end
  if due and list ~= '' then
    -- First pushed, then forgotten: a refused push leaves all as it was.
    redis.call(push, list, text)
    redis.call('ZREM', KEYS[2], tag)
    redis.call('HDEL', KEYS[1], tag)
  end
end
return restored
