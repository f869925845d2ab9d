-- Push messages to their lists: all of them or none, and once however often this is called.
--
-- KEYS  1 marker of these messages   2... lists
-- ARGV  1 seconds that the marker stays   then two by two: number of the list, message
--
-- Returns how many were pushed; 0 if an earlier call has pushed them. An error says that
-- nothing was: each command that may fail comes before the first push.
local marker = KEYS[1]

if redis.call('EXISTS', marker) == 1 then
  return 0
end
redis.call('EXPIRE', marker, ARGV[1])
for i = 2, #KEYS do
  redis.call('LLEN', KEYS[i])
end
redis.call('HSETNX', marker, 'messages', (#ARGV - 1) / 2)
redis.call('EXPIRE', marker, ARGV[1])
for i = 2, #ARGV, 2 do
  redis.call('LPUSH', KEYS[1 + ARGV[i]], ARGV[i + 1])
end
return (#ARGV - 1) / 2
