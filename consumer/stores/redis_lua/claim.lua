local owner, token = take(), take()
local claims = {}
for n = 1, tonumber(take()) do
  local name, first, after = take(), take(), take()
  local key = prefix .. 'partition:' .. name
  local epoch = redis.call('HINCRBY', key, 'epoch', 1)
  redis.call('HSET', key, 'owner', owner, 'last', token)
  redis.call('HSET', prefix .. 'partitions', name, epoch)
  hold_claimed(prefix, name)
  local parked = {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', prefix .. 'keys', '[' .. first, '(' .. after)) do
    parked[#parked + 1] = member
    parked[#parked + 1] = redis.call('HGET', prefix .. 'parked', member)
  end
  claims[n] = {epoch, redis.call('HGET', key, 'next'), parked}
end
return claims
