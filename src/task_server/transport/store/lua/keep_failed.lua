-- Keep failed tasks: the oldest go when there are too many, or too many bytes, or too old ones.
--
-- KEYS  1 hash of failed tasks   2 sorted set of when each failed   3 hash about them
-- ARGV  1 the most that are kept   2 for how many seconds   3 their bytes at most
--       4… two by two: name, record: JSON without its opening brace
--
-- Bytes are those of names and records, and counted in the field `bytes` of the third key.
local failed, times, about = KEYS[1], KEYS[2], KEYS[3]
local most, seconds, room = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local STEP, FEW, MOST_AGED = 100, 10, 1000
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

-- Returns the records of *names*, in their order; false for one that is not there.
local function records_of(names)
  return #names > 0 and redis.call('HMGET', failed, unpack(names)) or {}
end

-- Removes *names*, `STEP` at most, of which *records* are those that are there.
local function remove(names, records)
  for i, name in ipairs(names) do
    bytes = bytes - (records[i] and #name + #records[i] or 0)
  end
  if #names > 0 then
    redis.call('HDEL', failed, unpack(names))
    redis.call('ZREM', times, unpack(names))
  end
end

for first = 1, #aged, STEP do
  local names = {unpack(aged, first, math.min(first + STEP - 1, #aged))}
  remove(names, records_of(names))
end

-- Of a task that has failed twice the last record counts.
local start = string.format('{"at": %.6f, ', now)
local names, records = {}, {}
for i = 4, #ARGV, 2 do
  if not records[ARGV[i]] then
    names[#names + 1] = ARGV[i]
  end
  records[ARGV[i]] = start .. ARGV[i + 1]
end
local fields, scores = {}, {}
for i, name in ipairs(names) do
  fields[2 * i - 1], fields[2 * i] = name, records[name]
  scores[2 * i - 1], scores[2 * i] = now, name
  bytes = bytes + #name + #records[name]
end
remove(names, records_of(names))
if #names > 0 then
  redis.call('HSET', failed, unpack(fields))
  redis.call('ZADD', times, unpack(scores))
end

local excess = redis.call('HLEN', failed) - most
while excess > 0 or bytes > room do
  local oldest = redis.call('ZRANGE', times, 0, math.min(math.max(excess, FEW), STEP) - 1)
  if #oldest == 0 then
    -- No task-server wrote what is left.
    redis.pcall('DEL', failed)
    bytes = 0
    break
  end
  local there, going, size = records_of(oldest), {}, bytes
  for i, name in ipairs(oldest) do
    if excess <= 0 and size <= room then
      break
    end
    going[i] = name
    if there[i] then
      excess, size = excess - 1, size - #name - #there[i]
    end
  end
  remove(going, there)
end
redis.call('HSET', about, 'bytes', bytes)
for _, key in ipairs(KEYS) do
  redis.pcall('EXPIRE', key, math.ceil(seconds))
end
return redis.call('HLEN', failed)
