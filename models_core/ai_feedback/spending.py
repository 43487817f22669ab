"""What a judge costs: requests, tokens and their price, checked against the budget before each request.

What a request may cost is reserved before it is sent and settled when its reply is there, so that requests that are
under way at once don't exceed the budget together.
"""

import threading
import time
from dataclasses import dataclass

from models_core.contract.settings.ai_feedback import JudgeConfig

CHARACTERS_A_TOKEN = 3
"""To estimate the tokens of a request, rather too many than too few."""
MILLION = 1_000_000


class BudgetSpent(Exception):
    """The next request could exceed the budget; it is not sent."""


@dataclass
class Usage:
    """requests: sent, retries among them. estimated: of them those whose reply did not say its tokens."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: int = 0

    def add(self, other: "Usage") -> None:
        self.requests += other.requests
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.estimated += other.estimated

    def cost(self, settings: JudgeConfig) -> float:
        return (
            self.input_tokens * settings.input_token_cost + self.output_tokens * settings.output_token_cost
        ) / MILLION


class Spending:
    """All that was spent, `before` among it, against the budget in the settings. Safe for threads."""

    def __init__(self, settings: JudgeConfig, *, before: Usage | None = None) -> None:
        self.settings = settings
        self.total = Usage()
        self.total.add(before or Usage())
        self.is_spent = False
        self._reserved = Usage()
        self._next_at = 0.0
        self._lock = threading.Lock()

    def reserve(self, most: Usage) -> None:
        """Reserve what a request may cost at the most. Raises BudgetSpent."""
        with self._lock:
            expected = Usage()
            for part in (self.total, self._reserved, most):
                expected.add(part)
            settings = self.settings
            tokens = expected.input_tokens + expected.output_tokens
            if (
                self.is_spent
                or (settings.max_requests and expected.requests > settings.max_requests)
                or (settings.max_tokens and tokens > settings.max_tokens)
                or (settings.max_cost and expected.cost(settings) > settings.max_cost)
            ):
                self.is_spent = True
                raise BudgetSpent
            self._reserved.add(most)

    def record(self, most: Usage, spent: Usage) -> None:
        """Put what a request did cost in the place of what was reserved for it."""
        with self._lock:
            self._reserved.requests -= most.requests
            self._reserved.input_tokens -= most.input_tokens
            self._reserved.output_tokens -= most.output_tokens
            self.total.add(spent)

    def wait_seconds(self) -> float:
        """How long the next request has to wait for the rate limit; its place in the line is taken by this call."""
        if not self.settings.requests_per_minute:
            return 0.0
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next_at)
            self._next_at = at + 60 / self.settings.requests_per_minute
            return at - now


def estimated_tokens(characters: int) -> int:
    return characters // CHARACTERS_A_TOKEN + 1
