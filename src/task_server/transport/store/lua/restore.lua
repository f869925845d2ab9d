-- Redeliver unacked messages, each once however many workers try.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  1 hash of dead letters
--       2 RPUSH (next to be taken) or LPUSH (last)
--       3 only messages whose time is not after this, by the server's clock, in
--          seconds; '' for any
--       4… five by five: delivery tag, SHA-1 of its entry, what to do, list,
--          text. A message that goes to several lists comes several times in a
--          row. To do: 'push' the text to the list, put it into the hash of
--          the 'dead', or 'forget' a tag that has no message.
--
-- A message that cannot go where it should stays as it was; the others go.
--
-- Returns {the number of messages that were pushed, problems, the tags that are
-- dead}; problems two by two: key, error.
local unacked, times, dead = KEYS[1], KEYS[2], ARGV[1]
local push, latest = ARGV[2], tonumber(ARGV[3])
local pop = push == 'RPUSH' and 'RPOP' or 'LPOP'
local pushed, problems, died = 0, {}, {}

-- Try each command before anything is written; none of these changes anything.
redis.call('ZREM', times, 'unreadable:')
redis.call('HDEL', unacked, 'unreadable:')
redis.call('HGET', unacked, 'unreadable:')
if latest then
  redis.call('ZSCORE', times, 'unreadable:')
end

local function failed(answer, key)
  if type(answer) == 'table' and answer.err then
    problems[#problems + 1] = key
    problems[#problems + 1] = answer.err
    return true
  end
  return false
end

local function is_due(tag, sha, step)
  if latest then
    -- Its worker renewed it meanwhile, or another restored it.
    local time = redis.call('ZSCORE', times, tag)
    if not time or tonumber(time) > latest then
      return false
    end
  end
  if step == 'forget' then
    -- Without the right to do this it is kept, and the others go.
    if redis.pcall('HEXISTS', unacked, tag) == 0 then
      redis.call('ZREM', times, tag)
    end
    return false
  end
  -- What is pushed was made of the entry that was read.
  local entry = redis.call('HGET', unacked, tag)
  return entry and redis.sha1hex(entry) == sha
end

local i = 4
while i <= #ARGV do
  local tag, sha, step = unpack(ARGV, i, i + 2)
  local due = is_due(tag, sha, step)
  local went, whole = {}, due
  while i <= #ARGV and ARGV[i] == tag do
    local list, text = ARGV[i + 3], ARGV[i + 4]
    if due and whole then
      if step == 'push' then
        whole = not failed(redis.pcall(push, list, text), list)
        went[#went + 1] = whole and list or nil
      else
        whole = not failed(redis.pcall('HSET', dead, tag, text), dead)
      end
    end
    i = i + 5
  end
  if whole then
    redis.call('ZREM', times, tag)
    redis.call('HDEL', unacked, tag)
    if step == 'push' then
      pushed = pushed + 1
    else
      died[#died + 1] = tag
    end
  else
    for _, list in ipairs(went) do
      redis.pcall(pop, list)
    end
  end
end
return {pushed, problems, died}
