-- Put the copy of a list, without what is purged, in the place of the list.
--
-- KEYS  1 list   2 the copy   3 a name for what is dropped
-- ARGV  1 how many messages from the end of the list were looked at, and are there still
--       2 how many of the copy, from its end, are not: somebody took them meanwhile
--       3 SHA-1 of the newest that was looked at   4 of the oldest that is there still
--       5 how many may have arrived meanwhile   6 how many the copy has
--
-- What has arrived meanwhile stays, in front of the copy. Nothing is written if a step
-- cannot be done; a step that fails is undone.
--
-- Returns 1; -1 if other messages lie there, or more than may have arrived.
local list, copy, trash = KEYS[1], KEYS[2], KEYS[3]
local known, gone = tonumber(ARGV[1]), tonumber(ARGV[2])
local arrived = redis.call('LLEN', list) - known
if known < 1 or arrived < 0 or arrived > tonumber(ARGV[5]) or redis.call('LLEN', copy) ~= tonumber(ARGV[6]) then
  return -1
end
local function is(place, sha)
  return redis.sha1hex(redis.call('LINDEX', list, place)) == sha
end
if not is(-known, ARGV[3]) or not is(-1, ARGV[4]) then
  return -1
end
-- Else it would be gone with what it keeps.
local answer = redis.pcall('PERSIST', copy)
if type(answer) == 'table' then
  return answer
end
if gone > 0 then
  redis.call('LTRIM', copy, 0, -1 - gone)
end
local found = arrived > 0 and redis.call('LRANGE', list, 0, arrived - 1) or {}

-- Takes *count* messages that had arrived out of the copy again; returns *failure*.
local function undo(count, failure)
  if count > 0 then
    redis.pcall('LTRIM', copy, count, -1)
  end
  return failure
end

for place = arrived, 1, -1 do
  answer = redis.pcall('LPUSH', copy, found[place])
  if type(answer) == 'table' then
    return undo(arrived - place, answer)
  end
end
-- The list gives up its name first: to overwrite it would be to free it at once.
answer = redis.pcall('RENAME', list, trash)
if not answer.err and redis.call('LLEN', copy) > 0 then
  answer = redis.pcall('RENAME', copy, list)
  if answer.err then
    redis.call('RENAME', trash, list)
  end
end
if answer.err then
  return undo(arrived, answer)
end
answer = redis.pcall('UNLINK', trash)
if type(answer) == 'table' then
  redis.call('DEL', trash)
end
return 1
