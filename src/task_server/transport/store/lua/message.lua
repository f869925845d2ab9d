-- Reads what routing, registration and a delay need of a message: of Kombu's JSON.
--
-- Decoding costs milliseconds a MB, in which no other client is served, and next to
-- all of a large message is one string: its body. So long strings are cut out before.
-- Only those without a backslash, which cjson takes as they are whatever is in them:
-- a message is as readable, and says the same, as if it had been decoded whole.
local LARGE, LONG, MOST_STRINGS = 16384, 1024, 1000
-- What a long string is then. A field that has it decides nothing.
local CUT = 'a long string'

-- Returns *text* without its long strings.
local function outline(text)
  local parts, kept, at = {}, 1, 1
  local slash = text:find('\\', 1, true) or #text + 1
  local left = MOST_STRINGS
  while left > 0 do
    local first = text:find('"', at, true)
    local last = first and text:find('"', first + 1, true)
    if not last then
      break
    end
    if slash < first then
      slash = text:find('\\', first, true) or #text + 1
    end
    local plain = slash > last
    while last and slash < last and left > 0 do
      -- The character behind a backslash belongs to it, a quote too.
      local after = slash + 2
      if last < after then
        last = text:find('"', after, true)
      end
      slash = text:find('\\', after, true) or #text + 1
      left = left - 1
    end
    if not last or left == 0 then
      break
    end
    if plain and last - first > LONG then
      parts[#parts + 1] = text:sub(kept, first)
      parts[#parts + 1] = CUT
      kept = last
    end
    at = last + 1
    left = left - 1
  end
  if kept == 1 then
    return text
  end
  parts[#parts + 1] = text:sub(kept)
  return table.concat(parts)
end

-- Returns whether *text* is JSON; and what it says, or why it is not.
--
-- cjson rejects half of a surrogate pair, which Python's json writes and reads. No
-- field that is needed has one, so the second attempt replaces such characters.
local function parse(text)
  local good, message = pcall(cjson.decode, text)
  if good or not (text:find('\\ud', 1, true) or text:find('\\uD', 1, true)) then
    return good, message
  end
  local plain = text:gsub('\\\\', '__'):gsub('\\u[dD][89abAB]%x%x', '?'):gsub('\\u[dD][c-fC-F]%x%x', '?')
  local replaced, other = pcall(cjson.decode, plain)
  return replaced, replaced and other or message
end

-- Returns the fields of *message*; or nil and why it cannot be registered.
local function fields_of(message)
  local properties = type(message) == 'table' and message.properties
  if type(properties) ~= 'table' then
    return nil, 'it has no properties'
  end
  local tag, info, headers = properties.delivery_tag, properties.delivery_info, message.headers
  if type(tag) == 'number' then
    tag = tostring(tag)
  elseif type(tag) ~= 'string' then
    return nil, 'its delivery tag is neither a text nor a number'
  end
  info = type(info) == 'table' and info or {}
  headers = type(headers) == 'table' and headers or {}
  local found = {tag = tag, exchange = info.exchange, routing_key = info.routing_key}
  found.task, found.id, found.eta = headers.task, headers.id, headers.eta
  return found
end

-- Returns the fields of the message *text*: tag, exchange, routing_key, and of its
-- headers task, id and eta; each but the tag is whatever the producer wrote there, or nil. Or
-- nil, and why it cannot be read.
--
-- A message that cjson reads and Python does not, the worker moves to the unreadable
-- messages.
local function fields_in(text)
  if text:find('\0', 1, true) then
    return nil, 'it is not JSON: there is a NUL in it'
  end
  if #text > LARGE then
    local good, message = parse(outline(text))
    local found = good and fields_of(message)
    local whole = found and true
    for _, value in pairs(found or {}) do
      whole = whole and value ~= CUT
    end
    if whole then
      return found
    end
  end
  local good, message = parse(text)
  if not good then
    return nil, 'it is not JSON: ' .. tostring(message)
  end
  return fields_of(message)
end
