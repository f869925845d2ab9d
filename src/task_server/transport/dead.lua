-- Take messages from the dead, and deliver them again or drop them.
--
-- KEYS  1 hash of dead messages
-- ARGV  four by four: delivery tag, SHA-1 of its record, list, text; a message
--       that goes to several lists comes several times in a row; list '' drops it
--
-- Returns the tags that were there.
local reply, last, there = {}, nil, false
for i = 1, #ARGV, 4 do
  local tag, sha, list, text = unpack(ARGV, i, i + 3)
  if tag ~= last then
    last = tag
    local record = redis.call('HGET', KEYS[1], tag)
    there = record and redis.sha1hex(record) == sha
    if there then
      reply[#reply + 1] = tag
    end
  end
  if there then
    -- First pushed, then taken: a refused push leaves all as it was.
    if list ~= '' then
      redis.call('LPUSH', list, text)
    end
    redis.call('HDEL', KEYS[1], tag)
  end
end
return reply
