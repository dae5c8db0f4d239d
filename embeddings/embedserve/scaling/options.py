"""What `serve run embedserve.scaling.app:build` and a Serve config file may say. Knows no Ray.

Everything about the model itself (precision, cache, API key, limits) stays in the EMBEDDING_* variables of the
replica's environment (`runtime_env: {env_vars: ...}` in a Serve config file).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ScaleOptions(BaseModel):
    """One model process is one replica, with `cpus` cores (and `gpus` of a GPU) of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: str = Field("auto", description="Models, with commas; the first is the default; each is a deployment")
    cpus: float = Field(1.0, gt=0, description="Cores of a replica; also its compute threads")
    gpus: float = Field(0.0, ge=0, description="GPUs of a replica, or a share of one")
    memory: str = Field("", description="Memory of a replica, like 2g: reserved in Ray, and the governor's limit")
    min_replicas: int = Field(1, ge=0, description="Replicas that are always there; 0 lets a model scale to zero")
    max_replicas: int = Field(1, ge=1, description="Most replicas")
    target_ongoing_requests: float = Field(
        4.0, gt=0, description="Requests in work and waiting that a replica is to have"
    )
    target_queued_texts: float = Field(240.0, gt=0, description="Texts in the backlog that a replica is to have")
    upscale_delay: float = Field(10.0, ge=0, description="Seconds of load before a replica is added")
    downscale_delay: float = Field(300.0, ge=0, description="Seconds without load before a replica is taken away")
    max_ongoing_requests: int = Field(64, ge=2, description="Requests at one replica, its waiting room included")

    @model_validator(mode="after")
    def _bounds(self) -> ScaleOptions:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas ({self.min_replicas}) is over max_replicas ({self.max_replicas})")
        if not self.model_names:
            raise ValueError("models is empty: name at least one, or leave it out for `auto`")
        return self

    @property
    def model_names(self) -> list[str]:
        """The models, the default one first."""
        return list(dict.fromkeys(name.strip() for name in self.models.split(",") if name.strip()))

    @property
    def threads(self) -> int:
        """Compute threads of a replica: its cores, at least one."""
        return max(1, int(self.cpus))
