local number, dedupe_id = take(), take()
local member, offset, payload, connection, now_ms = take(), take(), take(), take(), take()
if redis.call('HDEL', prefix .. 'letters', number) == 0 then return 0 end
redis.call('HDEL', prefix .. 'about', number)
redis.call('ZREM', prefix .. 'numbers', number)
redis.call('ZREM', prefix .. 'outgoing', number)
if dedupe_id ~= '' then
  local seen = open_ids(prefix, 'seen')
  drop_id(seen, dedupe_id)
  save_ids(seen)
end
park(prefix, member, offset, payload, connection, now_ms)
touch(prefix, member, now_ms)
return 1
