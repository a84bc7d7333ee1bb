-- Note a topic's layout in place of the one before (empty: none); 0 if another is there.
local topic, layout, before = take(), take(), take()
if (redis.call('HGET', prefix .. 'layouts', topic) or '') ~= before then return 0 end
redis.call('HSET', prefix .. 'layouts', topic, layout)
return 1
