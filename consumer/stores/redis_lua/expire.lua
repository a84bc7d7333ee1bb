-- A few buckets of one walk through all of them, which forgets the days before before_day:
-- {ids forgotten, next bucket or -1 at the end, before_day as the gaps allow}. before_s: of ids.
-- A bucket that splits during the walk moves ids to the end, which is still to come.
local ids = open_ids(prefix, take())
local before_day, bucket, limit, most = tonumber(take()), tonumber(take()), tonumber(take()),
  tonumber(take())
local held_s = held_from(prefix, tonumber(take()), tonumber(take()))
if held_s then before_day = math.min(before_day, math.floor(held_s / 86400)) end
local days = redis.call('HGETALL', ids.days)
local old_days = {}
for i = 1, #days, 2 do
  if tonumber(days[i]) < before_day then old_days[#old_days + 1] = days[i] end
end
if #old_days == 0 then return {0, -1, before_day} end
local buckets, gone, by_day = ids.low + ids.split, 0, {}
local stop = math.min(buckets, bucket + most)
while bucket < stop and gone < limit do
  local key = ids.bucket .. string.format('%d', bucket)
  local all = redis.call('HGETALL', key)
  local old = {}
  for i = 1, #all, 2 do
    local day = ids.day_of(all[i + 1])
    if day < before_day then
      old[#old + 1] = all[i]
      by_day[day] = (by_day[day] or 0) + 1
    end
  end
  if #old * 2 == #all and #old > 0 then
    redis.call('DEL', key)
  else
    for i = 1, #old, 500 do redis.call('HDEL', key, unpack(old, i, math.min(i + 499, #old))) end
  end
  gone = gone + #old
  bucket = bucket + 1
end
for day, count in pairs(by_day) do count_day(ids, day, -count) end
if gone > 0 then redis.call('HINCRBY', ids.key, 'count', -gone) end
if bucket < buckets then return {gone, bucket, before_day} end
-- All buckets were seen: whatever the counts say, nothing of these days is left.
redis.call('HDEL', ids.days, unpack(old_days))
return {gone, -1, before_day}
