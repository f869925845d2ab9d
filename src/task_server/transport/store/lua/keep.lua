-- Copy messages that a purge keeps from their list to a list that will take its place.
--
-- KEYS  1 list   2 the copy
-- ARGV  1 how many messages behind these, from the end, were looked at before
--       2 seconds for which the copy stays, if nothing follows
--       3 what is done with each, from the newest back to the oldest: '1' to keep it, else '0'
--       4 SHA-1 of the oldest   5 of the newest
--       6 how many of those behind may have been taken meanwhile
--
-- Returns how many of those behind were taken meanwhile; -1 if other messages lie there.
local list, copy, marks = KEYS[1], KEYS[2], ARGV[3]
local behind, count, near = tonumber(ARGV[1]), #marks, tonumber(ARGV[6])
local first = math.min(behind + count, redis.call('LLEN', list))
local found = redis.call('LRANGE', list, -first, math.min(-1, near - behind - 1))
for place = 1, #found - count + 1 do
  if redis.sha1hex(found[place]) == ARGV[5] and redis.sha1hex(found[place + count - 1]) == ARGV[4] then
    local kept = {}
    for other = count, 1, -1 do
      if marks:byte(other) == 49 then
        kept[#kept + 1] = found[place + other - 1]
      end
    end
    if #kept > 0 then
      redis.call('LPUSH', copy, unpack(kept))
      local answer = redis.pcall('EXPIRE', copy, tonumber(ARGV[2]))
      if type(answer) == 'table' then
        -- Nobody would delete it if this purge ended here.
        redis.call('LTRIM', copy, #kept, -1)
        return answer
      end
    end
    return behind + count - first + place - 1
  end
end
return -1
