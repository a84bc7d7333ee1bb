local effects = take_effects()
for n, effect in ipairs(effects) do
  local problem = check_effect(effect)
  if problem then return {n, problem} end
end
return {0, ''}
