-- What this user may not do with our keys; then the version, written by whoever comes first.
local may = redis.acl_check_cmd
if may then
  local key = prefix .. 'x'
  local needed = {
    {'HSET', key, 'f', 'v'}, {'HSETNX', key, 'f', 'v'}, {'HGET', key, 'f'}, {'HMGET', key, 'f'},
    {'HDEL', key, 'f'}, {'HGETALL', key}, {'HVALS', key}, {'HINCRBY', key, 'f', '1'},
    {'HEXISTS', key, 'f'}, {'TIME'}, {'DEL', key}, {'INCR', key}, {'TYPE', key},
    {'GET', key}, {'ZADD', key, '1', 'm'}, {'ZREM', key, 'm'}, {'ZCOUNT', key, '1', '1'},
    {'ZRANGE', key, '0', '1'}, {'ZRANGEBYLEX', key, '-', '+'}, {'ZRANGEBYSCORE', key, '1', '1'},
    {'ZREMRANGEBYSCORE', key, '1', '1'},
  }
  for _, command in ipairs(needed) do
    if not may(unpack(command)) then return {'NOPERM', command[1]} end
  end
end
redis.call('HSETNX', prefix .. 'store', 'version', take())
return {'VERSION', redis.call('HGET', prefix .. 'store', 'version')}
