-- The first parked events of a key; none follows the one that brings the values to max_bytes.
local events, limit, max_bytes = prefix .. 'events:' .. take(), tonumber(take()), tonumber(take())

-- A payload is a MessagePack array: offset (an unsigned integer), value (bin), … Redis's own
-- reader knows no bin.
local INTEGER_BYTES = {[0xcc] = 2, [0xcd] = 3, [0xce] = 5, [0xcf] = 9}
local LENGTH_BYTES = {[0xc4] = 1, [0xc5] = 2, [0xc6] = 4}
local function value_bytes(payload)
  local start = 2 + (INTEGER_BYTES[string.byte(payload, 2)] or 1)
  local length = 0
  for i = start + 1, start + LENGTH_BYTES[string.byte(payload, start)] do
    length = length * 256 + string.byte(payload, i)
  end
  return length
end

local found, bytes = {}, 0
for n = 0, limit - 1 do
  local payload = redis.call('ZRANGE', events, n, n)[1]
  if not payload or bytes >= max_bytes then break end
  found[n + 1] = payload
  bytes = bytes + value_bytes(payload)
end
return found
