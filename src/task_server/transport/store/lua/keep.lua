-- Copy messages that a purge keeps from their list to a list that will take its place.
--
-- KEYS  1 list   2 the copy
-- ARGV  1 how many messages behind these, from the end, were looked at before
--       2 seconds for which the copy stays, if nothing follows
--       3 what is done with each, from the last to be looked at back to the first: '1' to
--          keep it, else '0'
--       4 SHA-1 of the first   5 of the last
--
-- Returns how many the copy has; -1 if other messages lie there by now.
local list, copy, marks = KEYS[1], KEYS[2], ARGV[3]
local behind, count = tonumber(ARGV[1]), #marks
local found = redis.call('LRANGE', list, -(behind + count), -(behind + 1))
if #found ~= count or redis.sha1hex(found[count]) ~= ARGV[4] or redis.sha1hex(found[1]) ~= ARGV[5] then
  return -1
end
local kept = {}
for place = count, 1, -1 do
  if marks:byte(place) == 49 then
    kept[#kept + 1] = found[place]
  end
end
if #kept == 0 then
  return redis.call('LLEN', copy)
end
local length = redis.call('LPUSH', copy, unpack(kept))
local answer = redis.pcall('EXPIRE', copy, tonumber(ARGV[2]))
if type(answer) == 'table' then
  -- Nobody would delete it if this purge ended here.
  redis.call('LTRIM', copy, #kept, -1)
  return answer
end
return length
