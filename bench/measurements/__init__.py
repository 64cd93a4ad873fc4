"""One module a measurement: ``measure(data, rounds)`` makes its rows."""
