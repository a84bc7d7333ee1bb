local prefix = KEYS[1]
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function take_effects()
  local effects = {}
  for n = 1, tonumber(take()) do
    local effect = {}
    for i = 1, tonumber(take()) do effect[i] = take() end
    effects[n] = effect
  end
  return effects
end
