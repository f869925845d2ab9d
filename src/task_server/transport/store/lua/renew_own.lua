-- Give a sign of life for messages whose lease may be over: only for those that
-- this process still has.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  1 what this process has written into their entries   2… delivery tags
--
-- Returns the tags that it has no longer.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local taken = string.format('%.10f', math.floor(now * 1024) / 1024)

-- What a fetch has written stands last; what stands before is somebody's message.
local function held_by(entry)
  local tail = entry:sub(-4096)
  local _, mark = tail:find('.*"holder":{')
  if not mark and #entry > 4096 then
    tail = entry
    _, mark = tail:find('.*"holder":{')
  end
  return mark and tail:sub(mark + 1) or ''
end

local lost = {}
for i = 2, #ARGV do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  if entry and held_by(entry):find(ARGV[1], 1, true) then
    redis.call('ZADD', KEYS[2], 'XX', taken, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
