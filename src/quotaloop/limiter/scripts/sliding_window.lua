-- As sliding_window.py: the same functions, on the same whole numbers.

local sliding = {}
algorithms.sliding_window = sliding

function sliding.forward(ask, now)
  local state = read(ask.key, {0, 0, 0})
  local used, before, at = state[1], state[2], state[3]
  if at - ask.period <= now and now < at then return state end
  local steps = math.floor(now / ask.period) - math.floor(at / ask.period)
  if steps == 0 then return {used, before, now} end
  return {0, steps == 1 and used or 0, now}
end

local function left(ask, state) return ask.period - state[3] % ask.period end

function sliding.fits(ask, state)
  return (ask.limit - state[1] - ask.cost) * ask.period >= state[2] * left(ask, state)
end

function sliding.charge(ask, state, cost)
  state[1] = math.min(state[1] + cost, math.floor(EXACT / ask.period))
end

function sliding.refund(ask, state, amount, spent)
  local steps = math.floor(state[3] / ask.period) - math.floor(spent / ask.period)
  if steps == 0 then state[1] = math.max(state[1] - amount, 0) end
  if steps == 1 then state[2] = math.max(state[2] - amount, 0) end
end

function sliding.remaining(ask, state)
  return math.max(ask.limit - state[1] - math.ceil(state[2] * left(ask, state) / ask.period), 0)
end

function sliding.wait(ask, state)
  local used, before, rest = state[1], state[2], left(ask, state)
  local free = (ask.limit - used - ask.cost) * ask.period
  if free >= 0 and before > 0 then return math.min(rest - math.floor(free / before), rest) end
  if used == 0 then return rest end
  return rest + math.max(ask.period - math.floor((ask.limit - ask.cost) * ask.period / used), 0)
end

function sliding.save(ask, state)
  redis.call('SET', ask.key, written(state[1], state[2], state[3]), 'PX', ask.period + left(ask, state))
end
