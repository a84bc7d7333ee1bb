-- Which of the packed ids were done: their numbers, from 0.
local packed = take()
local seen = open_ids(prefix, 'seen')
local found = {}
for i = 1, #packed, 16 do
  if get_id(seen, string.sub(packed, i, i + 15)) then found[#found + 1] = (i - 1) / 16 end
end
return found
