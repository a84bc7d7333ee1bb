-- The one atomic step of a group commit: all of it is written, or nothing is.

-- 1. Fence: every partition that was ours at the beginning of the block, or moves.
local moves = {}
for n = 1, tonumber(take()) do
  local move = {name = take(), epoch = take(), last = take(), position = take(), gap = take()}
  move.key = prefix .. 'partition:' .. move.name
  local now = redis.call('HMGET', move.key, 'epoch', 'last')
  if now[1] ~= move.epoch then return {'FENCED', move.name} end
  -- A commit of ours whose answer was lost has arrived since: what we read is old.
  if move.last ~= '' and now[2] ~= move.last then return {'LATE', move.name} end
  moves[n] = move
end
local token, now_s = take(), take()

-- 2. Would every effect succeed?
local effects = take_effects()
for n, effect in ipairs(effects) do
  local problem = check_effect(effect)
  if problem then return {'REFUSED', n, problem} end
end

-- 3. From here on everything is written.
for n, effect in ipairs(effects) do
  local answer = redis.pcall(unpack(effect))
  if type(answer) == 'table' and answer.err then return {'BROKEN', n, answer.err} end
end

local OPS = {
  remember = function()
    local day, packed = tonumber(take()), take()
    local seen = open_ids(prefix, 'seen')
    local before = seen.count
    for i = 1, #packed, 16 do put_id(seen, string.sub(packed, i, i + 15), day - DAY_ZERO) end
    count_day(seen, day, seen.count - before)
    save_ids(seen)
  end,
  applied = function()
    local day = tonumber(take())
    local applied = open_ids(prefix, 'applied')
    local added = 0
    for _ = 1, tonumber(take()) do
      local id, value = take(), take()
      local old = get_id(applied, id)
      if old then count_day(applied, applied.day_of(old), -1) end
      put_id(applied, id, value)
      added = added + 1
    end
    count_day(applied, day, added)
    save_ids(applied)
  end,
  bury = function()
    local number = redis.call('INCR', prefix .. 'number')
    redis.call('HSET', prefix .. 'about', number, take())
    redis.call('HSET', prefix .. 'letters', number, take())
    redis.call('ZADD', prefix .. 'numbers', number, number)
    redis.call('ZADD', prefix .. 'outgoing', number, number)
  end,
  taken = function()
    local member, touched = take(), take()
    if redis.call('HGET', prefix .. 'touched', member) == touched then
      redis.call('HDEL', prefix .. 'touched', member)
    end
  end,
  park = function() park(prefix, take(), take(), take(), take(), take()) end,
  unpark = function() unpark(prefix, take(), take()) end,
  postpone = function() postpone(prefix, take(), take(), take()) end,
}
while at < #ARGV do OPS[take()]() end

-- 4. Progress.
for _, move in ipairs(moves) do
  if move.position ~= '' then
    redis.call('HSET', move.key, 'next', move.position, 'last', token)
    hold(prefix, move.name, tonumber(move.position), tonumber(move.gap), tonumber(now_s))
  end
end
return {'DONE'}
