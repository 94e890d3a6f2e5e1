"""What to train, how and for how long: the one list of training's settings."""

from pydantic import BaseModel, ConfigDict, Field

from tickcast_export.family import FamilySettings


class TrainingSettings(BaseModel):
    """What to train, how and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str = Field("additive", description="one of `families.FAMILIES`")
    network: FamilySettings = FamilySettings()
    horizons: tuple[int, ...] = Field(tuple(range(1, 11)), min_length=1, description="sampled ticks ahead")
    epochs: int = Field(60, ge=1, description="most epochs")
    batch: int = Field(16, ge=1, description="windows per step; each has dozens of targets")
    steps_per_epoch: int | None = Field(None, ge=1, description="default: each row a target once, 150 to 500 steps")
    time_budget_s: float | None = Field(None, gt=0, description="fitting ends after this; scoring comes on top")
    learning_rate: float = Field(3e-3, gt=0, description="Adam's, once warm; falls to 0 along half a cosine")
    weight_decay: float = Field(0.0, ge=0, description="share of each weight, times the learning rate, lost per step")
    clip_norm: float = Field(1.0, gt=0, description="longest gradient over all weights")
    patience: int = Field(10, ge=1, description="epochs without a better validation error before stopping")
    validation_windows_max: int = Field(20_480, ge=1, description="most windows, evenly spaced, to validate on")
    threshold_windows_max: int = Field(100_000, ge=1, description="most windows to choose thresholds of direction by")
    test_windows_max: int = Field(200_000, ge=1, description="most windows, evenly spaced, to score the model on")
    seed: int = Field(1, ge=0, description="of the first weights and of the order of windows")
