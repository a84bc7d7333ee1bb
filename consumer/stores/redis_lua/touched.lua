local found = {}
local touched = redis.call('HGETALL', prefix .. 'touched')
for i = 1, #touched, 2 do
  for _, first in ipairs(ARGV) do
    if string.sub(touched[i], 1, #first) == first then
      local record = redis.call('HGET', prefix .. 'parked', touched[i])
      if record then found[#found + 1] = {touched[i], touched[i + 1], record} end
    end
  end
end
return found
