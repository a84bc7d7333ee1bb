-- 16-byte ids in small hashes, which Redis keeps as listpacks (about 24 bytes an id; a plain hash
-- of all takes 80). The table grows by linear hashing: one bucket splits for every LOAD ids added,
-- so no step is long. A bucket holds id -> value; day_of(value) is when it was noted.
local DAY_ZERO = 20000
local LOAD = 64
local FIRST_LOW = 16

local DAY_OF = {
  seen = function(value) return tonumber(value) + DAY_ZERO end,
  applied = function(value)
    local high, low = string.byte(value, 1, 2)
    return high * 256 + low
  end,
}

local function open_ids(prefix, name)
  local size = redis.call('HMGET', prefix .. name, 'low', 'split', 'count')
  return {
    key = prefix .. name, bucket = prefix .. name .. ':', days = prefix .. name .. '.days',
    day_of = DAY_OF[name], low = tonumber(size[1]) or FIRST_LOW,
    split = tonumber(size[2]) or 0, count = tonumber(size[3]) or 0,
  }
end

local function place(id)
  local a, b, c, d = string.byte(id, 13, 16)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function bucket_of(ids, id)
  local hash = place(id)
  local number = hash % ids.low
  if number < ids.split then number = hash % (ids.low * 2) end
  return ids.bucket .. string.format('%d', number)
end

local function count_day(ids, day, change)
  if change ~= 0 and redis.call('HINCRBY', ids.days, day, change) <= 0 then
    redis.call('HDEL', ids.days, day)
  end
end

local function split_one(ids)
  local from = ids.bucket .. string.format('%d', ids.split)
  local to = ids.bucket .. string.format('%d', ids.split + ids.low)
  local all = redis.call('HGETALL', from)
  for i = 1, #all, 2 do
    if place(all[i]) % (ids.low * 2) ~= ids.split then
      redis.call('HSET', to, all[i], all[i + 1])
      redis.call('HDEL', from, all[i])
    end
  end
  ids.split = ids.split + 1
  if ids.split == ids.low then
    ids.low, ids.split = ids.low * 2, 0
  end
end

local function save_ids(ids)
  while ids.count > LOAD * (ids.low + ids.split) do split_one(ids) end
  redis.call('HSET', ids.key, 'low', ids.low, 'split', ids.split, 'count', ids.count)
end

local function put_id(ids, id, value)
  ids.count = ids.count + redis.call('HSET', bucket_of(ids, id), id, value)
end

local function get_id(ids, id)
  return redis.call('HGET', bucket_of(ids, id), id)
end

local function drop_id(ids, id)
  local bucket = bucket_of(ids, id)
  local value = redis.call('HGET', bucket, id)
  if not value then return end
  redis.call('HDEL', bucket, id)
  ids.count = ids.count - 1
  count_day(ids, ids.day_of(value), -1)
end
