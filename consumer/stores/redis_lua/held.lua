-- What keeps ids from expiring. held: partition's name -> [from_s, done_to, written_at_s,
-- idle_from_s]; NEVER for a time that is not known.
local NEVER = -1

local function hold(prefix, name, position, gap, now_s)
  local packed = redis.call('HGET', prefix .. 'held', name)
  local held = packed and cmsgpack.unpack(packed) or {now_s, NEVER}
  held[1], held[2] = math.min(held[1], now_s), math.max(held[2], gap)
  held[3], held[4] = now_s, NEVER
  if held[2] >= position then
    redis.call('HSET', prefix .. 'held', name, cmsgpack.pack(held))
  elseif packed then
    redis.call('HDEL', prefix .. 'held', name)
  end
end

local function hold_claimed(prefix, name)
  local packed = redis.call('HGET', prefix .. 'held', name)
  if packed then
    local held = cmsgpack.unpack(packed)
    held[3], held[4] = NEVER, NEVER
    redis.call('HSET', prefix .. 'held', name, cmsgpack.pack(held))
  end
end

-- From when on ids may be above a position of a partition that is not given up; or before_s.
local function held_from(prefix, before_s, given_up_s)
  local from_s = nil
  local all = redis.call('HGETALL', prefix .. 'held')
  for i = 1, #all, 2 do
    local held = cmsgpack.unpack(all[i + 1])
    local idle = held[3] ~= NEVER and held[3] < before_s
    if idle and held[4] == NEVER then
      held[4] = before_s
      redis.call('HSET', prefix .. 'held', all[i], cmsgpack.pack(held))
    end
    if not (idle and held[4] <= before_s - given_up_s) then
      from_s = math.min(from_s or held[1], held[1])
    end
  end
  return from_s
end
