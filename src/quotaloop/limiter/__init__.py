"""May this request pass? Algorithms, stores of counts, and the limiter that goes by a policy."""

from quotaloop.limiter.answer import Answer
from quotaloop.limiter.limiter import Limiter
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.rule import Decision

__all__ = ["Answer", "Decision", "Limiter", "MemoryStore"]
