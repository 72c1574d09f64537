"""What two dates are compared with: the inputs and options that every command shares, and opening them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .bands import parse_layers
from .card import AUTO
from .grid import crs_of
from .masks import BUFFER_M
from .pair import PairOptions
from .scene import Scene, open_scene

# How change is found: by a model, or by what `classical` fits to the pair itself.
METHODS = ("unet", "cva", "irmad", "pca")


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Two dates, as asked for.

    Attributes:
        before, after: what `scene.open_scene` opens.
        before_bands, after_bands: layers of stacks, as `bands.parse_layers` reads them.
        before_crs, after_crs: as `grid.crs_of` reads them, for files that have none or a wrong one.
        before_units, after_units: see `radiometry.UNITS`.
        trust_units: the user has checked the units; nothing stops for them.
        accept_level: the user takes another processing level than the model's.
        method: one of `METHODS`.
        model: name or path, or `card.AUTO`: see `choice.chosen_model`. Only "unet" has one.
        register, normalise, clouds, before_mask, after_mask, mask_buffer, area: see `pair.PairOptions`.
    """

    before: str
    after: str
    before_bands: str | None = None
    after_bands: str | None = None
    before_crs: str | None = None
    after_crs: str | None = None
    before_units: str = "auto"
    after_units: str = "auto"
    trust_units: bool = False
    accept_level: bool = False
    method: str = "unet"
    model: str = AUTO
    register: bool = True
    normalise: bool = False
    clouds: str = "auto"
    before_mask: str | None = None
    after_mask: str | None = None
    mask_buffer: float = BUFFER_M
    area: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: unknown bands, CRS or method, a model without a name or for a method without one, or what `PairOptions` refuses; the text says
                which.
        """
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r} and must be one of {', '.join(METHODS)}")
        if not self.model:
            raise ValueError("the model has no name: give one, or leave --model out")
        if self.model != AUTO and self.method != "unet":
            raise ValueError(f"the method {self.method} has no model: leave --model out, or --method")
        for text in (self.before_bands, self.after_bands):
            parse_layers(text)
        for text in (self.before_crs, self.after_crs):
            crs_of(text)
        self.pair_options()

    @property
    def inputs(self) -> tuple[str | None, ...]:
        """The files that are read."""
        model = (self.model, str(Path(self.model).with_suffix(".json"))) if self.model.endswith(".safetensors") else ()
        return self.before, self.after, *self.beside, *model

    @property
    def beside(self) -> tuple[str | None, ...]:
        """Of these the masks and the area of interest."""
        return self.before_mask, self.after_mask, self.area

    def pair_options(self) -> PairOptions:
        """How the two are laid over each other."""
        return PairOptions(
            register=self.register,
            normalise=self.normalise,
            clouds=self.clouds,
            before_mask=self.before_mask,
            after_mask=self.after_mask,
            mask_buffer=self.mask_buffer,
            area=self.area,
        )

    def open_scene(self, side: str) -> Scene:
        """One of the dates, "before" or "after"; raises what `scene.open_scene` raises."""
        bands = parse_layers(getattr(self, f"{side}_bands"))
        crs = crs_of(getattr(self, f"{side}_crs"))
        return open_scene(getattr(self, side), bands, getattr(self, f"{side}_units"), side, self.trust_units, crs)
