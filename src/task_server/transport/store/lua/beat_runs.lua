-- Records runs that a server which lost its data may not know; later ones stay.
-- KEYS: the hash of runs. ARGV: milliseconds until it expires, then each entry and its time.

-- Before the hash is there: without this right nothing is recorded.
redis.call('PEXPIRE', KEYS[1], ARGV[1])
for number = 2, #ARGV, 2 do
    local known = tonumber(redis.call('HGET', KEYS[1], ARGV[number]) or '')
    if not known or known < tonumber(ARGV[number + 1]) then
        redis.call('HSET', KEYS[1], ARGV[number], ARGV[number + 1])
    end
end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
