-- Renew the lease of messages for which it may have expired: only of those that
-- this process still owns.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  1 what this process has written into their entries   2… delivery tags
--
-- Returns how many of the tags were handled, which are read up to about a megabyte;
-- and those that it no longer owns.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local taken = string.format('%.10f', math.floor(now * 1024) / 1024)

local function owner_of(entry)
  local tail, mark = owner_in(entry)
  return mark and tail:sub(mark + 1) or ''
end

local reply, bytes = {0}, 1048576
for i = 2, #ARGV do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  if entry and owner_of(entry):find(ARGV[1], 1, true) then
    redis.call('ZADD', KEYS[2], 'XX', taken, ARGV[i])
  else
    reply[#reply + 1] = ARGV[i]
  end
  reply[1] = i - 1
  bytes = bytes - (entry and #entry or 0)
  if bytes <= 0 then
    break
  end
end
return reply
