-- Store a result, unless there is one that the caller has not seen; and publish it.
--
-- The last key is the result's. The last three arguments are its value, the seconds that it is
-- kept (0: forever), and the value that the caller expects there ('': none). Keys and
-- arguments before them are those of the script that follows this one.
--
-- Answers {'held', VALUE}, and changes nothing, if something else is there: only the caller can
-- decode it. Else what follows answers.
do
    local key, count = KEYS[#KEYS], #ARGV
    local value, expires, expected = ARGV[count - 2], tonumber(ARGV[count - 1]), ARGV[count]
    local current = redis.call('GET', key)
    if current and current ~= expected then
        return {'held', current}
    end
    if expires > 0 then
        redis.call('SETEX', key, expires, value)
    else
        redis.call('SET', key, value)
    end
    redis.call('PUBLISH', key, value)
end
