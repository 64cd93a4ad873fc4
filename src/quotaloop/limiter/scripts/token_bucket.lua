-- As token_bucket.py: the same functions, on the same whole numbers.

local bucket = {}
algorithms.token_bucket = bucket

local function drained(ask, debt, at, now)
  local elapsed = now - at
  if elapsed >= 0 then
    if elapsed > math.floor(debt / ask.limit) then return 0, now end
    return debt - elapsed * ask.limit, now
  end
  if elapsed < -ask.period then return debt, now end
  return debt, at
end

function bucket.forward(ask, now)
  local state = read(ask.key, {0, 0, 0, 0})
  local debt, at = drained(ask, state[1], state[2], now)
  if at < state[2] then return {debt, at, 0, 0} end
  local steps = math.floor(at / ask.period) - math.floor(state[2] / ask.period)
  if steps == 0 then return {debt, at, math.min(state[3], debt), state[4]} end
  return {debt, at, debt, steps == 1 and math.min(state[3], debt) or debt}
end

function bucket.fits(ask, state) return state[1] + ask.cost * ask.period <= ask.burst * ask.period end

function bucket.charge(ask, state, cost) state[1] = math.min(state[1] + cost * ask.period, EXACT) end

function bucket.refund(ask, state, amount, spent)
  local steps, known = math.floor(state[2] / ask.period) - math.floor(spent / ask.period), 0
  if steps <= 0 then known = state[3] elseif steps == 1 then known = math.min(state[3], state[4]) end
  local alone = amount * ask.period - math.max(state[2] - spent, 0) * ask.limit
  local given = math.max(math.min(amount * ask.period, math.max(known, alone)), 0)
  for _, place in ipairs({1, 3, 4}) do state[place] = math.max(state[place] - given, 0) end
end

function bucket.remaining(ask, state)
  return math.floor(math.max(ask.burst * ask.period - state[1], 0) / ask.period)
end

function bucket.wait(ask, state)
  return math.ceil((state[1] + (ask.cost - ask.burst) * ask.period) / ask.limit)
end

function bucket.save(ask, state)
  redis.call('SET', ask.key, written(unpack(state)), 'PX', math.floor(state[1] / ask.limit) + ask.period)
end
