-- Return the unacked messages whose lease, or visibility timeout, has expired.
--
-- KEYS  1 sorted set of the times of unacked messages   2 hash of unacked messages
-- ARGV  1 seconds without a renewal, of a message without a lease
--       2 seconds between two scans at most
--       3 seconds for which there must have been scans   4 first   5 how many
--       6 the shortest lease to scan for, in seconds; '' for none
--       7 as 3, of messages with a lease
--       8 hash of the scans of all workers; no KEY, since a server refuses the
--         whole script for one that the user may not use
--       9 since when, and 10 when last, this process scanned, from an earlier reply;
--         '' before the first. They count if the hash cannot be used
--
-- While the server is down or hangs no worker can renew, and none scans either:
-- that time does not count. So a gap between two scans starts a time of grace, in
-- which living workers reconnect and renew.
--
-- Workers with the same ARGV[2] share the times of their scans, others do not: one of
-- version 0.1, or with a longer lease, may reconnect first after half a minute and
-- see no gap, though a shorter lease has expired meanwhile.
--
-- The length of a lease is in the entry of its message, which may be large. So only
-- entries are read whose time is a whole number of 1024ths: that of every message
-- with a lease is, and by chance that of one in thousands of the others.
--
-- Times are the server's: the clocks of two workers may differ.
--
-- Returns the seconds that are left of the grace; the latest time of a last renewal
-- that counts as expired, as text; how many messages were scanned; 9 and 10 for the
-- next call; why the hash of the scans cannot be used, or ''; then delivery tags,
-- each with the time of its last renewal.
local times, unacked, scans = KEYS[1], KEYS[2], ARGV[8]
local timeout, most = tonumber(ARGV[1]), tonumber(ARGV[5])
local shortest = tonumber(ARGV[6])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
-- Try the reads before anything is written: a rejected scan must not count as one.
redis.call('ZRANGE', times, 0, 0)
redis.call('HGET', unacked, 'unreadable:')

-- Returns since when there were scans, if the last one was at *last*.
local function since_of(since, last)
  since, last = tonumber(since), tonumber(last)
  if not since or not last or last > now or now - last > tonumber(ARGV[2]) then
    return now
  end
  return since
end

local problem = ''
local since = since_of(ARGV[9], ARGV[10])
local by_gap = shortest and ' ' .. ARGV[2] or ''
local seen = redis.pcall('HMGET', scans, 'since' .. by_gap, 'last' .. by_gap)
if not seen.err then
  local of_all = since_of(seen[1], seen[2])
  seen = redis.pcall(
    'HSET', scans, 'since' .. by_gap, string.format('%.6f', of_all), 'last' .. by_gap, string.format('%.6f', now)
  )
  if type(seen) == 'number' then
    since = of_all
    -- It does no harm where it stays.
    redis.pcall('EXPIRE', scans, 86400)
  end
end
if type(seen) == 'table' and seen.err then
  problem = seen.err
  -- See `note` of fetch.lua.
  if not (problem:find('WRONGTYPE', 1, true) or problem:find('NOPERM', 1, true) or problem:find('permission', 1, true) or problem:find("can't ", 1, true)) then
    -- It is the server's: it has no memory, is a replica, lacks one.
    return seen
  end
end

local left = since + tonumber(ARGV[3]) - now
local left_of_lease = shortest and since + tonumber(ARGV[7]) - now or left
local reply = {'', '0', 0, string.format('%.6f', since), string.format('%.6f', now), problem}
local FIRST = #reply
if left > 0 and left_of_lease > 0 then
  reply[1] = tostring(math.min(left, left_of_lease))
  return reply
end
-- Bytes that one call reads: the other clients wait meanwhile.
local bytes = 1048576

-- Returns the seconds of the lease of a message; nil if it has none.
local function lease_of(tag)
  local entry = redis.call('HGET', unacked, tag)
  if not entry then
    return nil
  end
  bytes = bytes - #entry
  local tail, mark = owner_in(entry)
  return mark and tonumber(tail:match('"lease": ([%d.]+)}', mark))
end

local function may_be_leased(time)
  return shortest and time * 1024 % 1 == 0
end

local earliest = shortest and left_of_lease <= 0 and shortest or timeout
local latest = string.format('%.6f', now - earliest)
reply[1], reply[2] = tostring(math.max(left, 0)), latest
local found = redis.call('ZRANGE', times, '-inf', latest, 'BYSCORE', 'LIMIT', ARGV[4], most * 10, 'WITHSCORES')
for i = 1, #found, 2 do
  local time = tonumber(found[i + 1])
  local lease = may_be_leased(time) and lease_of(found[i])
  local due = left <= 0 and now - time >= timeout
  if lease then
    due = left_of_lease <= 0 and now - time > lease
  end
  if due then
    reply[#reply + 1] = found[i]
    reply[#reply + 1] = found[i + 1]
  end
  reply[3] = (i + 1) / 2
  if #reply - FIRST >= most * 2 or bytes <= 0 then
    break
  end
end

-- The clock was put back: a dead worker's messages would wait until it is there
-- again. A living one gives its signs by the clock as it is now.
if shortest and left_of_lease <= 0 and ARGV[4] == '0' then
  local ahead = redis.call('ZRANGE', times, string.format('%.6f', now + 2), '+inf', 'BYSCORE', 'LIMIT', 0, 100, 'WITHSCORES')
  for i = 1, #ahead, 2 do
    if bytes <= 0 then
      break
    end
    if may_be_leased(tonumber(ahead[i + 1])) and lease_of(ahead[i]) then
      redis.pcall('ZADD', times, 'XX', string.format('%.10f', math.floor(now * 1024) / 1024), ahead[i])
    end
  end
end
return reply
