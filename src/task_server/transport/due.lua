-- Name the unacked messages whose worker gave no sign of life for too long.
--
-- KEYS  1 sorted set of the times of unacked messages   2 hash of the looks
-- ARGV  1 seconds without a sign  2 seconds between two looks at most
--       3 seconds that must have been looked for   4 first   5 how many
--
-- While the server is down or hangs nobody can give a sign of life, and nobody
-- looks either: that time does not count. So a gap between two looks starts a
-- time of grace, in which those that live come back and say so.
--
-- Times are the server's: the clocks of two workers may differ.
--
-- Returns the seconds that are left of the grace, and the latest time of a last
-- sign of life, as text, then delivery tags.
local times, looks = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local seen = redis.call('HMGET', looks, 'since', 'last')
local since, last = tonumber(seen[1]), tonumber(seen[2])
if not since or not last or last > now or now - last > tonumber(ARGV[2]) then
  since = now
end
redis.call('HSET', looks, 'since', string.format('%.6f', since), 'last', string.format('%.6f', now))
redis.call('EXPIRE', looks, 86400)
local left = since + tonumber(ARGV[3]) - now
if left > 0 then
  return {tostring(left), '0'}
end
local latest = string.format('%.6f', now - tonumber(ARGV[1]))
local tags = redis.call('ZRANGE', times, '-inf', latest, 'BYSCORE', 'LIMIT', ARGV[4], ARGV[5])
return {'0', latest, unpack(tags)}
