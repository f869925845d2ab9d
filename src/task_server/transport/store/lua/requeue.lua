-- Requeue messages to the lists that they were fetched from, as if never fetched.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  four by four: delivery tag, list, text, what the fetch has written into
--       the entry; last fetched first
--
-- Returns {the number of messages that were put back, problems}; problems two by
-- two: key, error; such a message stays unacked. One that another worker has
-- restored meanwhile is in a list again, owned by that one, or done.
local unacked, times = KEYS[1], KEYS[2]
local count, problems = 0, {}

-- Try both commands before anything is written; neither changes anything here.
redis.call('ZREM', times, 'unreadable:')
redis.call('HDEL', unacked, 'unreadable:')

for i = 1, #ARGV, 4 do
  local tag, list, text, owner = unpack(ARGV, i, i + 3)
  local entry = redis.call('HGET', unacked, tag)
  if entry and entry:find(owner, 1, true) then
    local answer = redis.pcall('RPUSH', list, text)
    if type(answer) == 'table' then
      problems[#problems + 1] = list
      problems[#problems + 1] = answer.err
    else
      redis.call('ZREM', times, tag)
      redis.call('HDEL', unacked, tag)
      count = count + 1
    end
  end
end
return {count, problems}
