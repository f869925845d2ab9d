-- Give a sign of life for messages, by the clock of all: the server's.
--
-- KEYS  1 sorted set of the times of unacked messages
-- ARGV  delivery tags; one that is not there, since another worker restored its
--       message, is not taken back
local clock = redis.call('TIME')
local now = clock[1] .. '.' .. string.format('%06d', clock[2])
for _, tag in ipairs(ARGV) do
  redis.call('ZADD', KEYS[1], 'XX', now, tag)
end
return now
