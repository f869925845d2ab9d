-- Takes the lock of beat, unless another has it.
-- KEYS: the lock. ARGV: our token, milliseconds until it expires, host, pid.
-- Returns 1; or 0 and the host, the pid and the time (since 1970) of who has it.

local held = redis.call('HMGET', KEYS[1], 'token', 'host', 'pid', 'since')
if held[1] and held[1] ~= ARGV[1] then
    return {0, held[2] or '', held[3] or '', held[4] or ''}
end
-- Before the hash is there: without this right it would never expire.
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if not held[1] then
    local now = redis.call('TIME')
    redis.call('HSET', KEYS[1], 'token', ARGV[1], 'host', ARGV[3], 'pid', ARGV[4], 'since', now[1])
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {1}
