-- Returns the tail of *entry* that has what a fetch has written into it, and the
-- position there after the owner's marker; nil as the position if there is no marker.
-- Everything before the last marker is the producer's text.
local function owner_in(entry)
  local tail = entry:sub(-4096)
  local _, mark = tail:find('.*"holder":{')
  if not mark and #entry > 4096 then
    tail = entry
    _, mark = tail:find('.*"holder":{')
  end
  return tail, mark
end

