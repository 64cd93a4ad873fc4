"""May this request pass? Algorithms, stores of counts, and the limiter that goes by a policy."""

from quotaloop.limiter.limiter import Answer, Limiter
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.rule import Decision

__all__ = ["Answer", "Decision", "Limiter", "MemoryStore"]
