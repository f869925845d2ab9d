-- Renew messages, by the clock that all workers share: the server's.
--
-- KEYS  1 sorted set of the times of unacked messages
-- ARGV  1 '1' if they have a lease: see fetch.lua
--       2… delivery tags; one that is not there, since another worker restored
--       its message, is not taken back
local clock = redis.call('TIME')
local now = clock[1] .. '.' .. string.format('%06d', clock[2])
if ARGV[1] == '1' then
  now = string.format('%.10f', math.floor(tonumber(now) * 1024) / 1024)
end
local changes = {}
for i = 2, #ARGV do
  changes[#changes + 1] = now
  changes[#changes + 1] = ARGV[i]
end
if #changes > 0 then
  redis.call('ZADD', KEYS[1], 'XX', unpack(changes))
end
return now
