-- Put the copy of a list, without what is purged, in the place of the list.
--
-- KEYS  1 list   2 the copy   3 a name for what is dropped
-- ARGV  1 how many messages from the end of the list were looked at
--       2 SHA-1 of the newest of them
--       3 how many of the copy, from its end, were taken by others; 4 how many it has
--       5 how many may have arrived
--       6… two by two, for the oldest of those that were looked at: SHA-1, '1' if it is kept
--
-- What has arrived stays, in front of the copy; what was taken meanwhile is not there again.
-- Nothing is written if a step cannot be done; a step that fails is undone.
--
-- Returns how many were taken meanwhile; -1 if other messages lie there, or too many arrived.
local list, copy, trash = KEYS[1], KEYS[2], KEYS[3]
local known, gone, taken = tonumber(ARGV[1]), tonumber(ARGV[3]), nil
local length, near = redis.call('LLEN', list), (#ARGV - 5) / 2
local first = math.min(known, length)
for place, text in ipairs(redis.call('LRANGE', list, -first, math.min(-1, near - known - 1))) do
  if redis.sha1hex(text) == ARGV[2] then
    taken = known - first + place - 1
    break
  end
end
local oldest = taken and taken < near and redis.call('LINDEX', list, -1)
if not oldest or redis.sha1hex(oldest) ~= ARGV[6 + 2 * taken] then
  return -1
end
for number = 1, taken do
  gone = gone + tonumber(ARGV[5 + 2 * number])
end
local arrived = length - (known - taken)
if arrived > tonumber(ARGV[5]) or redis.call('LLEN', copy) ~= tonumber(ARGV[4]) then
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
return taken
