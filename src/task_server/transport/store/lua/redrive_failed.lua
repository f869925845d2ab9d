-- Retry or drop failed tasks.
--
-- KEYS  1 hash of failed tasks   2 sorted set of when each failed   3 hash about them
--       4 hash of unacked messages
-- ARGV  five by five: name, SHA-1 of its record, delivery tag, list, text; list '' drops it
--
-- Returns {names that went, names whose messages a worker has, problems}: problems two by
-- two: list, error. A task whose message cannot be pushed stays, and so does one whose
-- message is not acknowledged yet: it would run twice.
local failed, times, about, unacked = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local went, busy, problems = {}, {}, {}

-- Try each command before anything is written; none of these changes anything.
redis.call('HDEL', failed, 'unreadable:')
redis.call('ZREM', times, 'unreadable:')
redis.call('HEXISTS', unacked, 'unreadable:')
local bytes = tonumber(redis.call('HGET', about, 'bytes'))
-- Counted anew by the next failure, unless it can be written below.
redis.call('HDEL', about, 'bytes')

for i = 1, #ARGV, 5 do
  local name, sha, tag, list, text = unpack(ARGV, i, i + 4)
  local record = redis.call('HGET', failed, name)
  if record and redis.sha1hex(record) == sha then
    local is_free = list == ''
    if not is_free and redis.call('HEXISTS', unacked, tag) == 1 then
      busy[#busy + 1] = name
    elseif not is_free then
      local answer = redis.pcall('LPUSH', list, text)
      is_free = type(answer) ~= 'table'
      if not is_free then
        problems[#problems + 1] = list
        problems[#problems + 1] = answer.err
      end
    end
    if is_free then
      redis.call('HDEL', failed, name)
      redis.call('ZREM', times, name)
      bytes = bytes and bytes - #name - #record
      went[#went + 1] = name
    end
  end
end
if bytes then
  redis.pcall('HSET', about, 'bytes', bytes)
end
return {went, busy, problems}
