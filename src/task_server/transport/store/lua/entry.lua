local HOLDER = '"holder":{'

-- Returns where the last marker of an owner in *text* ends; nil if there is none.
--
-- No pattern: without a marker one would start again at each character, for hours in
-- an entry of some MB that Kombu's own transport wrote.
local function last_marker(text)
  local mark
  local _, found = text:find(HOLDER, 1, true)
  while found do
    mark = found
    _, found = text:find(HOLDER, found + 1, true)
  end
  return mark
end

-- Returns the tail of *entry* that has what a fetch has written into it, and the
-- position there after the owner's marker; nil as the position if there is no marker.
-- Everything before the last marker is the producer's text.
local function owner_in(entry)
  local tail = entry:sub(-4096)
  local mark = last_marker(tail)
  if not mark and #entry > 4096 then
    tail = entry
    mark = last_marker(tail)
  end
  return tail, mark
end
