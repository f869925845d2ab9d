-- Register a worker, with the server's time, and add what it has finished.
--
-- KEYS  1 hash of the workers
-- ARGV  1 the run of its process   2 what it says of itself: JSON, without its opening brace
--       3 '1' to remove first what has been silent for so many seconds as 4 says
--       5 hash of the totals, see statistics.lua   6 number of the batch, '0' for none
--       7 its rows: JSON, numbers by field   8 lengths of queues: JSON, by field
--       9 the totals to which nothing was added for so many seconds are removed with 3
--
-- A batch that comes again, since the answer was lost, is not added again.
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
  forget(ARGV[5], now, tonumber(ARGV[9]))
end
local before = redis.pcall('HGET', KEYS[1], ARGV[1])
local batch = type(before) == 'string' and before:match('^{"at": [%d.]+, "batch": (%d+), ') or '0'
local start = string.format('{"at": %.6f, "batch": %s, ', now, ARGV[6] == '0' and batch or ARGV[6])
local added = redis.call('HSET', KEYS[1], ARGV[1], start .. ARGV[2])
local rows = batch ~= ARGV[6] and cjson.decode(ARGV[7]) or {}
local lengths = cjson.decode(ARGV[8])
if next(rows) or next(lengths) then
  add_everywhere(ARGV[5], rows, lengths, now)
end
return added
