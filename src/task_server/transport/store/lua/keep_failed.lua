-- Keep failed tasks: the oldest go when there are too many, or too many bytes, or too old ones.
--
-- KEYS  1 hash of failed tasks   2 sorted set of when each failed   3 hash about them
-- ARGV  1 the most that are kept   2 for how many seconds   3 their bytes at most
--       4… two by two: name, record: JSON without its opening brace
--
-- Bytes are those of names and records, and counted in the field `bytes` of the third key.
local failed, times, about = KEYS[1], KEYS[2], KEYS[3]
local most, seconds, room = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local STEP, MOST_AGED = 100, 1000
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

-- Returns the bytes of all: as *known*, or counted anew if nobody did, or the keys were deleted.
local function counted(known)
  if redis.call('HLEN', failed) == 0 then
    return 0
  end
  if known then
    return known
  end
  local sum, first = 0, 0
  while true do
    local names = redis.call('ZRANGE', times, first, first + STEP - 1)
    if #names == 0 then
      return sum
    end
    for _, name in ipairs(names) do
      local record = redis.call('HGET', failed, name)
      sum = sum + (record and #name + #record or 0)
    end
    first = first + STEP
  end
end

-- Try each command before anything is written; none of these changes what is kept. The first
-- fails when Redis has no memory left: once a script has written, Redis lets it go on.
redis.call('ZADD', times, 'XX', 0, 'unreadable:')
redis.call('ZREM', times, 'unreadable:')
redis.call('HDEL', failed, 'unreadable:')
local aged = redis.call('ZRANGEBYSCORE', times, '-inf', now - seconds, 'LIMIT', 0, MOST_AGED)
local has_times = #redis.call('ZRANGE', times, 0, 0) > 0
local bytes = counted(tonumber(redis.call('HGET', about, 'bytes')))
redis.call('HSET', about, 'bytes', bytes)
if not has_times then
  -- Somebody deleted them: nothing would ever show or drop these.
  redis.pcall('DEL', failed)
  bytes = 0
end

local function remove(name)
  local record = redis.call('HGET', failed, name)
  if record then
    bytes = bytes - #name - #record
    redis.call('HDEL', failed, name)
  end
  redis.call('ZREM', times, name)
end

for _, name in ipairs(aged) do
  remove(name)
end
for i = 4, #ARGV, 2 do
  local name, record = ARGV[i], string.format('{"at": %.6f, ', now) .. ARGV[i + 1]
  remove(name)
  redis.call('HSET', failed, name, record)
  redis.call('ZADD', times, now, name)
  bytes = bytes + #name + #record
end
while true do
  local excess = redis.call('HLEN', failed) - most
  if excess <= 0 and bytes <= room then
    break
  end
  local oldest = redis.call('ZRANGE', times, 0, math.min(math.max(excess, 1), STEP) - 1)
  if #oldest == 0 then
    -- No task-server wrote what is left.
    redis.pcall('DEL', failed)
    bytes = 0
    break
  end
  for _, name in ipairs(oldest) do
    remove(name)
  end
end
redis.call('HSET', about, 'bytes', bytes)
for _, key in ipairs(KEYS) do
  redis.pcall('EXPIRE', key, math.ceil(seconds))
end
return redis.call('HLEN', failed)
