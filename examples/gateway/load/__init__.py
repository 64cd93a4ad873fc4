"""Load with open-loop arrivals: when a call is made does not depend on how fast others are answered."""
