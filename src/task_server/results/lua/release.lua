-- Release the claims on the bodies of chords.
--
-- KEYS  the claim of each chord
-- ARGV  the token that each must have: what another task has claimed stays
local released = 0
for i, key in ipairs(KEYS) do
    if redis.pcall('GET', key) == ARGV[i] then
        released = released + redis.call('DEL', key)
    end
end
return released
