-- Renews the lock of beat, and records that an entry is about to be sent.
-- KEYS: the lock, the hash of runs. ARGV: our token, milliseconds until the lock expires,
-- milliseconds until the runs do, and the names of the entries.
-- Returns nothing if the lock is not ours; else the server's time, in microseconds since 1970.

if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    return false
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local now = redis.call('TIME')
local time = now[1] .. string.format('%06d', now[2])
for number = 4, #ARGV do
    redis.call('HSET', KEYS[2], ARGV[number], time)
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return time
