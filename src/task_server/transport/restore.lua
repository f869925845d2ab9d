-- Deliver unacked messages again, each once however many workers try.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
--       3 hash of dead messages
-- ARGV  1 RPUSH (next to be taken) or LPUSH (last)
--       2 only messages whose time is not after this, by the server's clock, in
--          seconds; '' for any
--       3… five by five: delivery tag, SHA-1 of its entry, what to do, list,
--          text. A message that goes to several lists comes several times in a
--          row. To do: 'push' the text to the list, put it into the hash of
--          the 'dead', or 'forget' a tag that has no message.
--
-- Returns the number of messages that were pushed, then the tags that are dead.
local unacked, times, dead = KEYS[1], KEYS[2], KEYS[3]
local push, latest = ARGV[1], tonumber(ARGV[2])
local reply, last, due = {0}, nil, false
for i = 3, #ARGV, 5 do
  local tag, sha, step, list, text = unpack(ARGV, i, i + 4)
  if tag ~= last then
    last = tag
    due = true
    if latest then
      -- Its worker gave a sign of life meanwhile, or another restored it.
      local time = redis.call('ZSCORE', times, tag)
      due = time and tonumber(time) <= latest
    end
    if due and step == 'forget' then
      if redis.call('HEXISTS', unacked, tag) == 0 then
        redis.call('ZREM', times, tag)
      end
      due = false
    elseif due then
      -- What is pushed was made of the entry that was read.
      local entry = redis.call('HGET', unacked, tag)
      due = entry and redis.sha1hex(entry) == sha
    end
    if due and step == 'push' then
      reply[1] = reply[1] + 1
    elseif due then
      reply[#reply + 1] = tag
    end
  end
  if due then
    -- First pushed, then forgotten: a refused push leaves all as it was.
    if step == 'push' then
      redis.call(push, list, text)
    else
      redis.call('HSET', dead, tag, text)
    end
    redis.call('ZREM', times, tag)
    redis.call('HDEL', unacked, tag)
  end
end
return reply
