-- Register a worker, with the server's time.
--
-- KEYS  1 hash of the workers
-- ARGV  1 the run of its process   2 what it says of itself: JSON, without its opening brace
--       3 '1' to remove first what has been silent for so many seconds as 4 says
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
if ARGV[3] == '1' then
  local known = redis.call('HSCAN', KEYS[1], '0', 'COUNT', 1000)[2]
  for i = 1, #known, 2 do
    local at = tonumber(known[i + 1]:match('^{"at": ([%d.]+)'))
    if not at or now - at > tonumber(ARGV[4]) then
      redis.call('HDEL', KEYS[1], known[i])
    end
  end
end
return redis.call('HSET', KEYS[1], ARGV[1], string.format('{"at": %.6f, ', now) .. ARGV[2])
