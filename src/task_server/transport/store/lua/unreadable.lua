-- Move unacked messages that cannot be delivered to the list of unreadable messages.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  1 list of unreadable messages   2 hash of their reasons, by SHA-1
--       3… five by five: delivery tag, SHA-1 of its entry, text, SHA-1 of the
--          text, about it: JSON with the reason
--
-- Returns {problems, tags}: key, error, key, error, and so on; and the tags of
-- the messages that were moved. The others no longer belong to this worker,
-- or stay because the list cannot be used.
local unacked, times, unreadable, reasons = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local MOST_REASONS = 10000
local problems, moved = {}, {}

-- Try both commands before anything is written; neither changes anything here.
redis.call('ZREM', times, 'unreadable:')
redis.call('HDEL', unacked, 'unreadable:')

for i = 3, #ARGV, 5 do
  local tag, sha, text, digest, about = unpack(ARGV, i, i + 4)
  local entry = redis.call('HGET', unacked, tag)
  if entry and redis.sha1hex(entry) == sha then
    local count = redis.pcall('LPUSH', unreadable, text)
    if type(count) == 'table' then
      problems[#problems + 1] = unreadable
      problems[#problems + 1] = count.err
    else
      if count == 1 then
        -- The list was emptied.
        redis.pcall('DEL', reasons)
      end
      local known = redis.pcall('HLEN', reasons)
      if type(known) == 'number' and known < MOST_REASONS then
        redis.pcall('HSET', reasons, digest, about)
      end
      redis.pcall('ZREM', times, tag)
      redis.pcall('HDEL', unacked, tag)
      moved[#moved + 1] = tag
    end
  end
end
return {problems, moved}
