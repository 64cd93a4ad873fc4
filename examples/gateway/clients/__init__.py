"""One small client a protocol of the gateway; each call is one attempt, nothing is tried twice."""
