-- Returns the end of *entry* with what a fetch has written into it, and the place
-- there behind the mark of the owner; nil as the place if there is none. What
-- stands before the last mark is somebody's message.
local function owner_in(entry)
  local tail = entry:sub(-4096)
  local _, mark = tail:find('.*"holder":{')
  if not mark and #entry > 4096 then
    tail = entry
    _, mark = tail:find('.*"holder":{')
  end
  return tail, mark
end

