"""Surface materials: what a camera and a LiDAR see of them."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """Optical properties of a surface; a triangle's tint multiplies ``rgb``."""

    name: str
    rgb: RGB
    """Albedo in 0..1."""
    reflectivity: float
    """Strength of a LiDAR return at normal incidence, as nuScenes' intensity / 255; retroreflective
    surfaces such as signs and number plates come near 1.
    """
    texture: str = "none"
    """Pattern that the camera draws at world positions, one of ``textures.TEXTURES``."""
    specular: float = 0.0
    """Fraction of light reflected as by a mirror, 0..1."""
    lidar_transmission: float = 0.0
    """Fraction of LiDAR beams that pass through, 0..1."""
    emission: float = 0.0
    """Light emitted at night, relative to a street lamp."""
    pile_m: float = 0.0
    """Mean height above the surface at which blades, leaves or grains end a LiDAR beam."""


MATERIALS: tuple[Material, ...] = (
    Material("asphalt", (0.23, 0.23, 0.24), 0.05, "asphalt"),
    Material("asphalt_worn", (0.33, 0.33, 0.33), 0.07, "asphalt"),
    Material("concrete", (0.52, 0.51, 0.49), 0.12, "asphalt"),
    Material("paving", (0.56, 0.52, 0.48), 0.10, "paving"),
    Material("kerb", (0.62, 0.61, 0.58), 0.13),
    Material("grass", (0.26, 0.36, 0.14), 0.13, "grass", pile_m=0.01),
    Material("soil", (0.42, 0.32, 0.22), 0.11, "asphalt", pile_m=0.01),
    Material("gravel", (0.47, 0.44, 0.41), 0.10, "asphalt", pile_m=0.006),
    Material("marking_white", (0.82, 0.82, 0.80), 0.30),
    Material("marking_yellow", (0.85, 0.66, 0.13), 0.27),
    Material("brick", (0.50, 0.27, 0.20), 0.14, "brick"),
    Material("plaster", (0.78, 0.76, 0.72), 0.19),
    Material("facade_windows", (0.74, 0.72, 0.68), 0.16, "windows"),
    Material("facade_brick_windows", (0.52, 0.30, 0.23), 0.13, "windows"),
    Material("facade_glass", (0.28, 0.38, 0.44), 0.06, "windows", specular=0.6),
    Material("metal", (0.48, 0.50, 0.52), 0.16, specular=0.3),
    Material("steel_dark", (0.20, 0.21, 0.22), 0.09, specular=0.2),
    Material("paint", (0.90, 0.90, 0.90), 0.12, specular=0.35),
    Material("glass", (0.10, 0.13, 0.15), 0.03, specular=0.8, lidar_transmission=0.75),
    Material("tyre", (0.06, 0.06, 0.06), 0.03),
    Material("plastic_dark", (0.10, 0.10, 0.11), 0.04),
    Material("chrome", (0.62, 0.63, 0.65), 0.22, specular=0.7),
    Material("headlight", (0.85, 0.87, 0.90), 0.35, specular=0.5, emission=1.0),
    Material("taillight", (0.65, 0.06, 0.05), 0.40, emission=0.5),
    Material("plate", (0.85, 0.85, 0.82), 0.90),
    Material("cloth", (0.85, 0.85, 0.85), 0.11),
    Material("skin", (0.72, 0.53, 0.42), 0.16),
    Material("hair", (0.09, 0.07, 0.06), 0.07),
    Material("vest", (0.86, 0.80, 0.12), 0.60),
    Material("cone_orange", (0.90, 0.34, 0.08), 0.20),
    Material("retro_white", (0.90, 0.90, 0.90), 0.95),
    Material("barrier_plastic", (0.92, 0.92, 0.90), 0.18),
    Material("foliage", (0.20, 0.33, 0.11), 0.16, "foliage"),
    Material("bark", (0.33, 0.27, 0.21), 0.13, "bark"),
    Material("sign_face", (0.90, 0.90, 0.90), 0.95),
    Material("sign_back", (0.55, 0.56, 0.57), 0.20),
    Material("lamp_head", (0.92, 0.90, 0.80), 0.20, emission=1.0),
    Material("signal_red", (0.85, 0.10, 0.08), 0.20, emission=0.8),
    Material("signal_green", (0.10, 0.75, 0.35), 0.20, emission=0.8),
    Material(
        "shop_window", (0.26, 0.28, 0.29), 0.05, specular=0.5, lidar_transmission=0.4, emission=0.35
    ),
    Material("wood", (0.45, 0.32, 0.20), 0.14),
    Material("roof_tile", (0.45, 0.25, 0.19), 0.12, "brick"),
    Material("canvas", (0.85, 0.85, 0.85), 0.16),
    Material("hoarding", (0.80, 0.82, 0.80), 0.20),
    Material("asphalt_cracked", (0.27, 0.27, 0.28), 0.06, "cracks"),
    Material("cobbles", (0.42, 0.40, 0.38), 0.09, "cobbles"),
    Material("litter", (0.36, 0.31, 0.17), 0.12, "litter", pile_m=0.015),
    Material("tall_grass", (0.33, 0.38, 0.16), 0.15, "grass", pile_m=0.04),
    Material("planks", (0.46, 0.35, 0.24), 0.14, "planks"),
    Material("rubble", (0.50, 0.47, 0.42), 0.14, "rubble", pile_m=0.03),
)

MATERIAL_ID: dict[str, int] = {material.name: index for index, material in enumerate(MATERIALS)}
