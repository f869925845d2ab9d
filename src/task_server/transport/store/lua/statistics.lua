-- Adds up what workers have finished: in all, and by minute and ten minutes.
--
-- A field is JSON of a task and its queue; a value is words, 'succeeded:12 run:3400 r4:12', which
-- any reader may get in any order, with names that it does not know.
--
-- No KEY: a server refuses the whole script for one that the user may not use.
local REST = '["",""]'
-- Rows of the totals, and of one time.
local ROWS, ROWS_IN_TIME = 1000, 250
-- A number that is larger is none of ours, nor a value that is longer.
local LARGEST, LONGEST = 9007199254740992, 2000
-- Seconds of one hash, and for which it is kept.
local PERIODS = {{60, 7200}, {600, 90000}}

local function numbers_in(text)
  local found = {}
  if type(text) == 'string' and #text <= LONGEST then
    for name, digits in text:gmatch('(%l+%d*):(%d+)') do
      local value = tonumber(digits)
      found[name] = value < LARGEST and value or nil
    end
  end
  return found
end

local function text_of(numbers)
  local words = {}
  for name, value in pairs(numbers) do
    words[#words + 1] = name .. ':' .. string.format('%.0f', value)
  end
  return table.concat(words, ' ')
end

-- Adds *rows*, numbers by field, to the hash *key*, which has *most*. *change* gets each sum.
local function add(key, rows, most, change)
  local count = redis.pcall('HLEN', key)
  if type(count) ~= 'number' then
    return
  end
  for field, row in pairs(rows) do
    local known = redis.pcall('HGET', key, field)
    if not known and count >= most then
      field = REST
      known = redis.pcall('HGET', key, field)
    end
    -- A table is an error: what may not be read is not overwritten.
    if type(known) ~= 'table' then
      local sum = numbers_in(known)
      for name, value in pairs(row) do
        sum[name] = (sum[name] or 0) + value
      end
      change(sum)
      redis.pcall('HSET', key, field, text_of(sum))
      count = known and count or count + 1
    end
  end
end

-- Adds *rows* to the hashes named after *key*, and notes the *lengths* of queues, by field.
local function add_everywhere(key, rows, lengths, now)
  add(key, rows, ROWS, function(sum)
    sum.at = now
  end)
  for _, period in ipairs(PERIODS) do
    local seconds, kept = unpack(period)
    local name = string.format('%s:%d:%.0f', key, seconds, math.floor(now / seconds) * seconds)
    add(name, rows, ROWS_IN_TIME, function(sum)
      for number in pairs(sum) do
        if seconds == 60 and number:find('%d') then
          sum[number] = nil
        end
      end
    end)
    for field, length in pairs(lengths) do
      local count = redis.pcall('HLEN', name)
      if type(count) == 'number' and count < ROWS then
        redis.pcall('HSET', name, field, length)
      end
    end
    redis.pcall('EXPIRE', name, kept)
  end
end

-- Removes from the totals what nothing was added to for *seconds*.
local function forget(key, now, seconds)
  local known = redis.pcall('HSCAN', key, '0', 'COUNT', ROWS)
  known = type(known) == 'table' and known[2] or {}
  for i = 1, #known, 2 do
    local at = numbers_in(known[i + 1]).at
    if not at or now - at > seconds then
      redis.pcall('HDEL', key, known[i])
    end
  end
end
