-- Describe some of the unacked messages.
--
-- KEYS  1 hash of unacked messages   2 sorted set of their times
-- ARGV  1 cursor, '0' at first   2 about how many
--
-- Returns the next cursor, '0' at the end; then, twelve by twelve: delivery tag, time of
-- the last renewal, task, id, list, exchange, routing key, and of the owner node, pid, run,
-- time of the fetch and lease. Each is text, '' where the entry does not say. A
-- message may come twice, as in any scan.
local FIELDS = 255

local function text(value)
  if type(value) == 'string' then
    return value:sub(1, FIELDS)
  end
  if type(value) == 'number' then
    return string.format('%.6f', value)
  end
  return ''
end

-- Returns the message of *entry*, with what the fetch wrote into it; {} if it is not one.
local function message_in(entry)
  local good, found = parse(#entry > LARGE and outline(entry) or entry)
  if good and type(found) == 'table' and type(found[1]) == 'table' then
    return found[1], found
  end
  return {}, {}
end

local function table_or_none(value)
  return type(value) == 'table' and value or {}
end

local found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local reply = {found[1]}
for i = 1, #found[2], 2 do
  local tag = found[2][i]
  local message, entry = message_in(found[2][i + 1])
  local headers, owner = table_or_none(message.headers), table_or_none(message.holder)
  local time = redis.call('ZSCORE', KEYS[2], tag)
  for _, value in ipairs({
    tag, time or '', text(headers.task), text(headers.id), text(message.taken_from),
    text(entry[2]), text(entry[3]), text(owner.node), text(owner.pid), text(owner.run),
    text(owner.taken), text(owner.lease),
  }) do
    reply[#reply + 1] = value
  end
end
return reply
