"""What a service keeps to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from everymask.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits, and who may come.

    `budget` is how many seconds after it arrived an answer is still worth something: who cannot be answered by then is
    refused at once. `max_body` bytes and `max_pixels` bound one picture, `max_batch` bytes a list of them,
    `max_sessions` bytes all sessions with prompts. `batch` pictures of one size are calculated together (None: 1 on a
    processor, else 8), by `workers` threads (None: as many as calculate fastest). `keys` are the secrets by the names
    of those who hold them; without any everybody may ask. `origins` are web pages of other servers that may ask from a
    browser. `label_studio` is the address below which pictures are fetched for Label Studio, with the token
    `label_studio_token`; without it none is fetched.
    """

    budget: float = 10.0
    max_body: int = 32 << 20
    max_batch: int = 256 << 20
    max_pixels: int = 64_000_000
    max_sessions: int = 1 << 30
    batch: int | None = None
    workers: int | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    label_studio: str = ""
    label_studio_token: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.budget <= 3600:
            raise ConfigError(f"budget must be seconds from above 0 to 3600, but got {self.budget:g}")
        for name in ("max_body", "max_batch", "max_pixels", "max_sessions"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name.replace('_', '-')} must be at least 1, but got {getattr(self, name)}")
        for name in ("batch", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, but got {value}")
