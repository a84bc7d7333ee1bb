local packed = take()
local applied = open_ids(prefix, 'applied')
local found = {}
for i = 1, #packed, 16 do
  local value = get_id(applied, string.sub(packed, i, i + 15))
  if value then
    found[#found + 1] = (i - 1) / 16
    found[#found + 1] = value
  end
end
return found
