-- Put messages back to where they were taken from, as if never taken.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  three by three: delivery tag, list, text; last taken first
for i = 1, #ARGV, 3 do
  redis.call('RPUSH', ARGV[i + 1], ARGV[i + 2])
  redis.call('ZREM', KEYS[2], ARGV[i])
  redis.call('HDEL', KEYS[1], ARGV[i])
end
return #ARGV / 3
