-- Return entries of unacked messages: about a megabyte, or one that is larger.
--
-- KEYS  1 hash of unacked messages
-- ARGV  delivery tags
--
-- Returns the entries of the first tags, of one at least; false for one that is not there.
local reply, bytes = {}, 1048576
for number, tag in ipairs(ARGV) do
  local entry = redis.call('HGET', KEYS[1], tag)
  reply[number] = entry
  bytes = bytes - (entry and #entry or 0)
  if bytes <= 0 then
    break
  end
end
return reply
