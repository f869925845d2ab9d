-- Redeliver or drop dead letters.
--
-- KEYS  1 hash of dead letters
-- ARGV  four by four: delivery tag, SHA-1 of its record, list, text; a message
--       that goes to several lists comes several times in a row; list '' drops it
--
-- Returns the tags that were there. A message that cannot be pushed to each of its
-- lists stays, and the error is raised after the others were handled.
local dead = KEYS[1]
local reply, failure = {}, nil

-- Try the command before anything is written; it changes nothing here.
redis.call('HDEL', dead, 'unreadable:')

local i = 1
while i <= #ARGV do
  local tag, sha = ARGV[i], ARGV[i + 1]
  local record = redis.call('HGET', dead, tag)
  local there = record and redis.sha1hex(record) == sha
  local went, whole = {}, there
  while i <= #ARGV and ARGV[i] == tag do
    local list, text = ARGV[i + 2], ARGV[i + 3]
    if whole and list ~= '' then
      local answer = redis.pcall('LPUSH', list, text)
      if type(answer) == 'table' then
        whole, failure = false, answer
      else
        went[#went + 1] = list
      end
    end
    i = i + 4
  end
  if whole then
    redis.call('HDEL', dead, tag)
    reply[#reply + 1] = tag
  else
    for _, list in ipairs(went) do
      redis.pcall('LPOP', list)
    end
  end
end
return failure or reply
