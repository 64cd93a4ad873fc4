-- As fixed_window.py: the same functions, on the same whole numbers.

local fixed = {}
algorithms.fixed_window = fixed

function fixed.forward(ask, now)
  local state = read(ask.key, {0, 0})
  local number = math.floor(now / ask.period)
  if number == state[2] or number == state[2] - 1 then return {state[1], state[2], now} end
  return {0, number, now}
end

function fixed.fits(ask, state) return state[1] + ask.cost <= ask.limit end

function fixed.charge(_, state, cost) state[1] = math.min(state[1] + cost, EXACT) end

function fixed.refund(ask, state, amount, spent)
  if math.floor(spent / ask.period) == state[2] then state[1] = math.max(state[1] - amount, 0) end
end

function fixed.remaining(ask, state) return math.max(ask.limit - state[1], 0) end

function fixed.wait(ask, state) return (state[2] + 1) * ask.period - state[3] end

function fixed.save(ask, state)
  redis.call('SET', ask.key, written(state[1], state[2]), 'PX', (state[2] + 2) * ask.period - state[3])
end
