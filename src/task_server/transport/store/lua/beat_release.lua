-- Gives up the lock of beat, if it is ours.
-- KEYS: the lock. ARGV: our token.

if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    return 0
end
return redis.call('DEL', KEYS[1])
