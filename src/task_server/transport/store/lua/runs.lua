-- Return the unacked messages of processes that are known to be dead.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  1 first   2 how many   3… what each of the processes writes into its entries
--
-- Returns how many messages were scanned, then delivery tags, each with the
-- time of its last renewal.
local bytes = 1048576
local reply = {0}
local first = tonumber(ARGV[1])
local found = redis.call('ZRANGE', KEYS[2], first, first + tonumber(ARGV[2]) - 1, 'WITHSCORES')
for i = 1, #found, 2 do
  -- That of a message with a lease is a whole number of 1024ths; see expired.lua.
  if tonumber(found[i + 1]) * 1024 % 1 == 0 then
    local entry = redis.call('HGET', KEYS[1], found[i]) or ''
    bytes = bytes - #entry
    local tail, mark = owner_in(entry)
    for run = 3, mark and #ARGV or 0 do
      if tail:find(ARGV[run], mark, true) then
        reply[#reply + 1] = found[i]
        reply[#reply + 1] = found[i + 1]
        break
      end
    end
  end
  reply[1] = (i + 1) / 2
  if bytes <= 0 then
    break
  end
end
return reply
