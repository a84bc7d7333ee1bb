-- Would each effect succeed? Lua does not roll back, so this is asked before anything is written.
-- It follows what the effects before do to the types and numbers of keys. Arguments were checked
-- by the client (redis_effects.py); a command is here exactly if it is there.
-- types and unsure (it may be gone by now) are by key; texts: the values of strings, false if not
-- known; fields: those of hashes, and `absent` if no others are there.
local types, unsure, texts, fields = {}, {}, {}, {}
local ABSENT = {}

local function type_of(key)
  if types[key] == nil then types[key] = redis.call('TYPE', key).ok end
  return types[key]
end

-- The key must be of this type or absent; `after`: 'made' if it is there afterwards, 'maybe' if
-- it may be gone, 'kept' if it is as before.
local function typed(key, wanted, after)
  local now = type_of(key)
  if now == 'none' then
    if after == 'made' then types[key] = wanted end
    return nil
  end
  if now ~= wanted then
    if unsure[key] or now == '?' then
      return 'WRONGTYPE ' .. key .. ' would change its type within one commit'
    end
    return 'WRONGTYPE ' .. key .. ' is a ' .. now .. ', not a ' .. wanted
  end
  if after == 'made' then unsure[key] = nil end
  if after == 'maybe' then unsure[key] = true end
  return nil
end

local function overwritten(key, wanted)
  types[key], unsure[key] = wanted, nil
end

local function hash_fields(key)
  if not fields[key] then fields[key] = {} end
  return fields[key]
end

local function field_of(key, field)
  local known = hash_fields(key)
  local slot = 'f' .. field
  if known[slot] == nil then
    known[slot] = (not known.absent and redis.call('HGET', key, field)) or ABSENT
  end
  return known, slot
end

local function text_of(key)
  if texts[key] == nil then texts[key] = redis.call('GET', key) or ABSENT end
  return texts, key
end

local function add(what, known, slot, change, whole)
  local value = known[slot]
  if value == ABSENT then value = 0 end
  if value == false then return 'ERR ' .. what .. ' is not known to be a number in this commit' end
  if type(value) == 'string' then
    local shape = whole and '^-?%d+$' or '^[-+]?%d*%.?%d*[eE]?[-+]?%d*$'
    local number = string.match(value, shape) and tonumber(value)
    if not number or #value > 320 or (whole and value ~= '0' and string.match(value, '^-?0')) then
      return 'ERR ' .. what .. (whole and ' is not an integer' or ' is not a number')
    end
    value = number
  end
  local sum = value + tonumber(change)
  local bound = whole and 9.223e18 or 1e300
  if sum > bound or sum < -bound or value > bound or value < -bound then
    return 'ERR ' .. what .. ' would overflow'
  end
  known[slot] = sum
  -- The text of a sum of fractions is not known here: an INCRBY after it must not rely on it.
  if not whole and sum ~= math.floor(sum) then known[slot] = tostring(sum) end
  return nil
end

local function of(wanted, after)
  return function(a) return typed(a[2], wanted, after) end
end

local function hash_add(whole)
  return function(a)
    local problem = typed(a[2], 'hash', 'made')
    if problem then return problem end
    local known, slot = field_of(a[2], a[3])
    return add(a[2] .. ' ' .. a[3], known, slot, a[4], whole)
  end
end

local function string_add(sign, whole)
  return function(a)
    local problem = typed(a[2], 'string', 'made')
    if problem then return problem end
    local known, slot = text_of(a[2])
    return add(a[2], known, slot, tonumber(a[3] or 1) * sign, whole)
  end
end

local function hash_set(a)
  local problem = typed(a[2], 'hash', 'made')
  if problem then return problem end
  for i = 3, #a, 2 do
    hash_fields(a[2])['f' .. a[i]] = a[i + 1]
  end
end

local function string_set(key, value)
  overwritten(key, 'string')
  texts[key] = value
end

local function delete(a)
  for i = 2, #a do
    overwritten(a[i], 'none')
    texts[a[i]], fields[a[i]] = ABSENT, {absent = true}
  end
end

-- SET with NX (only if absent) or XX (only if there).
local function set_if(key, value, there)
  if unsure[key] or type_of(key) == '?' then
    types[key], texts[key] = '?', false
  elseif (type_of(key) ~= 'none') == there then
    string_set(key, value)
  end
end

-- A time to live in the past deletes; one in the future changes nothing here, as a script's time
-- stands still.
local function expires(is_date, unit)
  return function(a)
    local from = is_date and (tonumber(redis.call('TIME')[1]) + 1) * unit or 0
    if tonumber(a[3]) <= from and type_of(a[2]) ~= 'none' then
      unsure[a[2]], texts[a[2]] = true, false
      fields[a[2]] = setmetatable({}, {__index = function() return false end})
    end
  end
end

local CHECKS = {
  HSET = hash_set,
  HSETNX = function(a)
    local problem = typed(a[2], 'hash', 'made')
    if problem then return problem end
    local known, slot = field_of(a[2], a[3])
    if known[slot] == ABSENT then known[slot] = a[4] end
  end,
  HDEL = function(a)
    local problem = typed(a[2], 'hash', 'maybe')
    if problem then return problem end
    for i = 3, #a do
      hash_fields(a[2])['f' .. a[i]] = ABSENT
    end
  end,
  HINCRBY = hash_add(true), HINCRBYFLOAT = hash_add(false),
  SET = function(a)
    for i = 4, #a do
      if a[i] == 'NX' or a[i] == 'XX' then
        set_if(a[2], a[3], a[i] == 'XX')
        return nil
      end
    end
    string_set(a[2], a[3])
  end,
  SETNX = function(a) set_if(a[2], a[3], false) end,
  SETEX = function(a) string_set(a[2], a[4]) end,
  PSETEX = function(a) string_set(a[2], a[4]) end,
  MSET = function(a) for i = 2, #a, 2 do string_set(a[i], a[i + 1]) end end,
  SETBIT = function(a)
    texts[a[2]] = false
    return typed(a[2], 'string', 'made')
  end,
  INCR = string_add(1, true), INCRBY = string_add(1, true), INCRBYFLOAT = string_add(1, false),
  DECR = string_add(-1, true), DECRBY = string_add(-1, true),
  LPUSH = of('list', 'made'), RPUSH = of('list', 'made'),
  LPUSHX = of('list', 'kept'), RPUSHX = of('list', 'kept'), LINSERT = of('list', 'kept'),
  LPOP = of('list', 'maybe'), RPOP = of('list', 'maybe'), LTRIM = of('list', 'maybe'),
  LREM = of('list', 'maybe'),
  SADD = of('set', 'made'), SREM = of('set', 'maybe'),
  SMOVE = function(a)
    return typed(a[2], 'set', 'maybe') or typed(a[3], 'set', 'made')
  end,
  ZADD = of('zset', 'made'), ZINCRBY = of('zset', 'made'), ZREM = of('zset', 'maybe'),
  ZREMRANGEBYRANK = of('zset', 'maybe'), ZREMRANGEBYSCORE = of('zset', 'maybe'),
  XADD = of('stream', 'made'),
  DEL = delete, UNLINK = delete,
  EXPIRE = expires(false, 1), PEXPIRE = expires(false, 1), EXPIREAT = expires(true, 1),
  PEXPIREAT = expires(true, 1000),
  PERSIST = function() end, PUBLISH = function() end,
}

-- nil, or what is wrong with this effect.
local function check_effect(effect)
  if redis.acl_check_cmd and not redis.acl_check_cmd(unpack(effect)) then
    return 'NOPERM this user may not run ' .. effect[1] .. ' on ' .. tostring(effect[2])
  end
  return CHECKS[effect[1]](effect)
end
