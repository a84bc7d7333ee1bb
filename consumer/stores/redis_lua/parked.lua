-- Parked events. A member is topic, 0, partition (4 bytes, big-endian) and the Kafka key, so that
-- `keys` is in the order of (topic, partition, key). parked: member -> [events, attempts,
-- retry_at_ms, connection, ...]; events:<member>: its events by offset; touched: member -> token.
local function parked_record(prefix, member)
  local packed = redis.call('HGET', prefix .. 'parked', member)
  return packed and cmsgpack.unpack(packed)
end

local function save_record(prefix, member, record)
  redis.call('HSET', prefix .. 'parked', member, cmsgpack.pack(record))
end

local function park(prefix, member, offset, payload, connection, retry_at_ms)
  local events = prefix .. 'events:' .. member
  local record = parked_record(prefix, member)
  if not record then
    record = {0, 0, tonumber(retry_at_ms)}
    redis.call('ZADD', prefix .. 'keys', 0, member)
  end
  if redis.call('ZCOUNT', events, offset, offset) == 0 then
    redis.call('ZADD', events, offset, payload)
    record[1] = record[1] + 1
    local known = false
    for i = 4, #record do known = known or record[i] == connection end
    if not known then record[#record + 1] = connection end
  end
  save_record(prefix, member, record)
end

local function unpark(prefix, member, offset)
  local events = prefix .. 'events:' .. member
  local record = parked_record(prefix, member)
  if not record then return end
  record[1] = record[1] - redis.call('ZREMRANGEBYSCORE', events, offset, offset)
  record[2] = 0
  if record[1] > 0 then
    save_record(prefix, member, record)
  else
    redis.call('HDEL', prefix .. 'parked', member)
    redis.call('HDEL', prefix .. 'touched', member)
    redis.call('ZREM', prefix .. 'keys', member)
    redis.call('DEL', events)
  end
end

local function postpone(prefix, member, attempts, retry_at_ms)
  local record = parked_record(prefix, member)
  if not record then return end
  record[2] = tonumber(attempts)
  -- An operator who made it due while it was being tried means another try: that stays.
  if redis.call('HEXISTS', prefix .. 'touched', member) == 0 then
    record[3] = tonumber(retry_at_ms)
  end
  save_record(prefix, member, record)
end

local function touch(prefix, member, now_ms)
  local record = parked_record(prefix, member)
  if not record then return 0 end
  record[3] = tonumber(now_ms)
  save_record(prefix, member, record)
  -- A token, not a flag: whoever takes it must not take a later touch with it.
  redis.call('HSET', prefix .. 'touched', member, redis.call('INCR', prefix .. 'touches'))
  return 1
end
