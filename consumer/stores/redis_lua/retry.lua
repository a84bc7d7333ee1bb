local now_ms, touched = take(), 0
while at < #ARGV do touched = touched + touch(prefix, take(), now_ms) end
return touched
