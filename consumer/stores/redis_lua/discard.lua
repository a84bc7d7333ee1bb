local gone = 0
for _, number in ipairs(ARGV) do
  gone = gone + redis.call('HDEL', prefix .. 'letters', number)
  redis.call('HDEL', prefix .. 'about', number)
  redis.call('ZREM', prefix .. 'numbers', number)
  redis.call('ZREM', prefix .. 'outgoing', number)
end
return gone
