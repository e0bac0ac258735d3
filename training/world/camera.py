"""One camera image of a drive: cast, textured, lit by sun, sky and lamps, and seen through a lens in its weather."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.world.lights import LampSet
from training.world.materials import MATERIALS
from training.world.optics import develop
from training.world.raycast import ActorsAt, Hits, RayCaster
from training.world.rig import Camera
from training.world.sky import Sky
from training.world.textures import COLOUR, LIGHT, TEXTURE_ID, look_up, noise
from training.world.weather import Weather

# To light: the listed colours lie between albedo and display values.
_RGB = np.array([material.rgb for material in MATERIALS], np.float32) ** 1.5
_TEXTURE = np.array([TEXTURE_ID[material.texture] for material in MATERIALS], np.int32)
_SPECULAR = np.array([material.specular for material in MATERIALS], np.float32)
_EMISSION = np.array([material.emission for material in MATERIALS], np.float32)
_FLAT_CATEGORIES = (24, 25, 26)
_HALF_FROM_WIDTH = 800
"""From this image width on, light is computed for every second pixel in both directions."""
_LAMP_LIGHT = 6.0
_WINDOW_LIGHT = np.array([0.55, 0.42, 0.25], np.float32)


@dataclass(frozen=True)
class View:
    """What a camera saw."""

    image: np.ndarray
    """uint8 [H, W, 3], RGB."""
    depth_m: np.ndarray
    """float32 [H, W], along the optical axis; inf in the sky."""


def render(
    caster: RayCaster,
    camera: Camera,
    size: tuple[int, int],
    world_from_camera: np.ndarray,
    actors: ActorsAt,
    lamps: LampSet,
    sky: Sky,
    weather: Weather,
    rng: np.random.Generator,
) -> View:
    """The image of ``camera`` at ``size`` (height, width) from the pose ``world_from_camera`` [4, 4]."""
    height, width = size
    intrinsics = camera.intrinsics(size)
    directions, along = _pixel_rays(intrinsics, size, world_from_camera)
    eye = world_from_camera[:3, 3].astype(np.float32)
    hits = caster.cast(eye, directions, actors)
    hit = np.flatnonzero(hits.hit)

    radiance = np.empty((height * width, 3), np.float32)
    above = np.flatnonzero(~hits.hit)
    radiance[above] = sky.radiance(directions[above])
    distance = hits.range_m[hit]
    points = eye + directions[hit] * distance[:, None]
    normal, material = hits.normal[hit], hits.material[hit]
    cosine = np.abs(np.einsum("ni,ni->n", normal, directions[hit]))
    pattern = _pattern(points, normal, material, distance / np.float32(intrinsics[0, 0]) / np.sqrt(np.maximum(cosine, 0.04)))
    albedo = _RGB[material] * hits.tint[hit] * pattern[:, COLOUR]
    flat = np.isin(hits.category[hit], _FLAT_CATEGORIES)
    if weather.wet:
        albedo[flat] *= 1.0 - 0.45 * weather.wet

    stride = 2 if width >= _HALF_FROM_WIDTH else 1
    light = _upsampled_light(caster, hits, eye, directions, size, stride, actors, lamps, sky, weather)[hit]
    colour = albedo * light
    if weather.lamps:
        colour += (_EMISSION[material] * _LAMP_LIGHT)[:, None] * _RGB[material]
        colour += pattern[:, LIGHT, None] * _WINDOW_LIGHT * sky.window_share

    gloss = _SPECULAR[material] * (0.25 + 0.75 * (1.0 - cosine) ** 3)
    shiny = np.flatnonzero(gloss > 0.02)
    mirrored = _mirrored(directions[hit[shiny]], normal[shiny])
    colour[shiny] += gloss[shiny, None] * (sky.environment(mirrored) - colour[shiny])
    if weather.wet:
        wet = np.flatnonzero(flat & (normal[:, 2] > 0.8))
        _add_puddle_mirror(colour, wet, points, directions[hit], normal, cosine, caster, actors, lamps, sky, weather, rng)
    veil = np.exp(-distance / weather.visibility_m)[:, None]
    radiance[hit] = colour * veil + sky.haze * (1.0 - veil)

    image = develop(radiance.reshape(height, width, 3), sky.exposure, weather, rng)
    return View(image, (hits.range_m * along).reshape(height, width))


def _pixel_rays(intrinsics: np.ndarray, size: tuple[int, int], world_from_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions float32 [H*W, 3] in the world, and the cosine [H*W] to the optical axis."""
    column, row = np.meshgrid(np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32))
    x = ((column - intrinsics[0, 2]) / intrinsics[0, 0]).ravel()
    y = ((row - intrinsics[1, 2]) / intrinsics[1, 1]).ravel()
    rays = np.stack([x, y, np.ones_like(x)], axis=1).astype(np.float32)
    along = 1.0 / np.sqrt(np.einsum("ni,ni->n", rays, rays))
    return (rays * along[:, None]) @ world_from_camera[:3, :3].T.astype(np.float32), along


def _pattern(points: np.ndarray, normal: np.ndarray, material: np.ndarray, footprint_m: np.ndarray) -> np.ndarray:
    """Texture values [N, 4]: ground by x and y, walls by the way along them and z, plus large soft stains."""
    lying = np.abs(normal[:, 2]) > 0.7
    horizontal = np.maximum(np.hypot(normal[:, 0], normal[:, 1]), 1e-6)
    along_wall = (points[:, 1] * normal[:, 0] - points[:, 0] * normal[:, 1]) / horizontal
    u = np.where(lying, points[:, 0], along_wall)
    v = np.where(lying, points[:, 1], points[:, 2])
    texture = np.where((_TEXTURE[material] == TEXTURE_ID["windows"]) & lying, TEXTURE_ID["none"], _TEXTURE[material])
    pattern = look_up(texture, u, v, footprint_m)
    textured = texture != TEXTURE_ID["none"]
    pattern[textured, COLOUR] *= (0.8 + 0.4 * noise(u[textured] / 47.0, v[textured] / 47.0))[:, None]
    return pattern


def _upsampled_light(
    caster: RayCaster,
    hits: Hits,
    eye: np.ndarray,
    directions: np.ndarray,
    size: tuple[int, int],
    stride: int,
    actors: ActorsAt,
    lamps: LampSet,
    sky: Sky,
    weather: Weather,
) -> np.ndarray:
    """Irradiance float32 [H*W, 3], computed for every ``stride``-th pixel and spread over its neighbours."""
    height, width = size
    chosen = np.arange(height * width).reshape(height, width)[::stride, ::stride]
    pixel = chosen.ravel()
    pixel = pixel[hits.hit[pixel]]
    points = eye + directions[pixel] * hits.range_m[pixel, None]
    computed = np.zeros((height * width, 3), np.float32)
    computed[pixel] = irradiance(caster, points, hits.normal[pixel], actors, lamps, sky, weather)
    if stride == 1:
        return computed
    coarse = computed[chosen]
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST).reshape(-1, 3)


def irradiance(
    caster: RayCaster, points: np.ndarray, normal: np.ndarray, actors: ActorsAt, lamps: LampSet, sky: Sky, weather: Weather
) -> np.ndarray:
    """Light on surface points [N, 3] with normals [N, 3]: sky, sun with shadows, lamps; float32 [N, 3]."""
    openness = 0.35 + 0.65 * (0.5 + 0.5 * normal[:, 2:3])
    light = openness * sky.ambient
    if weather.sun:
        facing = normal @ sky.sun_direction
        lit = np.flatnonzero(facing > 0)
        start = points[lit] + normal[lit] * 0.03
        sunny = lit[~caster.blocked(start, np.broadcast_to(sky.sun_direction, start.shape), np.inf, actors)]
        light[sunny] += facing[sunny, None] * sky.sun_colour
    if weather.lamps:
        light += lamps.irradiance(points, normal)
    return light.astype(np.float32)


def _mirrored(directions: np.ndarray, normal: np.ndarray) -> np.ndarray:
    return directions - 2.0 * np.einsum("ni,ni->n", directions, normal)[:, None] * normal


def _add_puddle_mirror(
    colour: np.ndarray,
    wet: np.ndarray,
    points: np.ndarray,
    directions: np.ndarray,
    normal: np.ndarray,
    cosine: np.ndarray,
    caster: RayCaster,
    actors: ActorsAt,
    lamps: LampSet,
    sky: Sky,
    weather: Weather,
    rng: np.random.Generator,
) -> None:
    """Mixes the mirrored scene into the wet ground pixels ``wet`` of ``colour``, more where water stands."""
    # Asphalt is rough below the film: each pixel's mirror is tilted a little, which draws reflections out towards the eye.
    tilted = normal[wet] + rng.normal(0.0, 0.03, (len(wet), 3)).astype(np.float32)
    tilted /= np.linalg.norm(tilted, axis=1, keepdims=True)
    way = _mirrored(directions[wet], tilted)
    way[:, 2] = np.maximum(way[:, 2], 1e-3)
    hits = caster.cast(points[wet] + tilted * 0.02, way, actors)
    seen = sky.radiance(way)
    met = np.flatnonzero(hits.hit)
    albedo = _RGB[hits.material[met]] * hits.tint[met]
    at = points[wet][met] + way[met] * hits.range_m[met, None]
    seen[met] = albedo * (sky.ambient * 0.7 + (lamps.irradiance(at, hits.normal[met]) if weather.lamps else 0.0))
    if weather.lamps:
        seen[met] += (_EMISSION[hits.material[met]] * _LAMP_LIGHT)[:, None] * _RGB[hits.material[met]]
    puddle = noise(points[wet, 0] / 19.0, points[wet, 1] / 19.0)
    # Schlick's law for water (2 % head-on), helped where a film stands.
    share = np.minimum(0.02 + 0.98 * (1.0 - cosine[wet]) ** 5, 0.6) * np.clip(0.9 * puddle + 0.15, 0.0, 1.0) * weather.wet
    colour[wet] += share[:, None] * (seen - colour[wet])
