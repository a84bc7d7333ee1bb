local found = {}
local every = take() == '1'
local members = redis.call('HKEYS', prefix .. (every and 'parked' or 'touched'))
for _, member in ipairs(members) do
  for i = at + 1, #ARGV do
    if string.sub(member, 1, #ARGV[i]) == ARGV[i] then
      local record = redis.call('HGET', prefix .. 'parked', member)
      local token = redis.call('HGET', prefix .. 'touched', member)
      if record then found[#found + 1] = {member, token or '', record} end
    end
  end
end
return found
