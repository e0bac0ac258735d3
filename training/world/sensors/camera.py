"""One camera image of a drive: cast, textured, lit by sun, sky and lamps, and seen through a lens
in its weather.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.sensors.lights import LampSet
from training.world.sensors.optics import develop
from training.world.sensors.raycast import ActorsAt, Hits, RayCaster
from training.world.sensors.rig import Camera
from training.world.sensors.sky import Sky
from training.world.things.materials import MATERIALS
from training.world.things.textures import COLOUR, LIGHT, TEXTURE_ID, look_up, noise
from training.world.weather import Weather

# To light: the listed colours lie between albedo and display values.
_RGB = np.array([material.rgb for material in MATERIALS], np.float32) ** 1.5
_TEXTURE = np.array([TEXTURE_ID[material.texture] for material in MATERIALS], np.int32)
_SPECULAR = np.array([material.specular for material in MATERIALS], np.float32)
_EMISSION = np.array([material.emission for material in MATERIALS], np.float32)
_FLAT_CATEGORIES = (24, 25, 26)
_PIECE = 32_768
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


@dataclass(frozen=True)
class Scenery:
    """What there is to see at one moment, and the light it stands in."""

    caster: RayCaster
    actors: ActorsAt
    lamps: LampSet
    sky: Sky
    weather: Weather


def render(
    scenery: Scenery,
    camera: Camera,
    size: tuple[int, int],
    world_from_camera: np.ndarray,
    rng: np.random.Generator,
) -> View:
    """The image of ``camera`` at ``size`` (height, width) from the pose ``world_from_camera`` [4,
    4].
    """
    height, width = size
    intrinsics = camera.intrinsics(size)
    directions, along = _pixel_rays(intrinsics, size, world_from_camera)
    eye = world_from_camera[:3, 3].astype(np.float32)
    hits = scenery.caster.cast_image(eye, directions, size, scenery.actors)
    is_hit = hits.hit
    light = _light(scenery, hits, eye, directions, size)
    radiance = np.empty((height * width, 3), np.float32)
    # In pieces that fit the processor's cache.
    for start in range(0, height * width, _PIECE):
        piece = np.arange(start, min(start + _PIECE, height * width))
        above, met = piece[~is_hit[piece]], piece[is_hit[piece]]
        radiance[above] = scenery.sky.radiance(directions[above])
        radiance[met] = _seen(
            scenery,
            hits,
            met,
            eye,
            directions[met],
            light[met],
            np.float32(1.0 / intrinsics[0, 0]),
            rng,
        )
    image = develop(radiance.reshape(height, width, 3), scenery.sky.exposure, scenery.weather, rng)
    return View(image, (hits.range_m * along).reshape(height, width))


def _seen(
    scenery: Scenery,
    hits: Hits,
    pixel: np.ndarray,
    eye: np.ndarray,
    directions: np.ndarray,
    light: np.ndarray,
    pixel_angle: np.float32,
    rng: np.random.Generator,
) -> np.ndarray:
    """Light float32 [K, 3] that arrives from what the rays of the pixels ``pixel`` [K] met."""
    sky, weather = scenery.sky, scenery.weather
    distance, normal, material = hits.range_m[pixel], hits.normal[pixel], hits.material[pixel]
    points = eye + directions * distance[:, None]
    cosine = np.abs(np.einsum("ni,ni->n", normal, directions))
    pattern = _pattern(
        points, normal, material, distance * pixel_angle / np.sqrt(np.maximum(cosine, 0.04))
    )
    colour = _RGB[material] * hits.tint[pixel] * pattern[:, COLOUR] * light
    flat = np.isin(hits.category[pixel], _FLAT_CATEGORIES)
    if weather.wet:
        colour[flat] *= 1.0 - 0.45 * weather.wet
    if weather.lamps:
        colour += (_EMISSION[material] * _LAMP_LIGHT)[:, None] * _RGB[material]
        colour += pattern[:, LIGHT, None] * _WINDOW_LIGHT * sky.window_share

    shiny = np.flatnonzero(_SPECULAR[material] > 0.05)
    gloss = _SPECULAR[material[shiny]] * (0.25 + 0.75 * (1.0 - cosine[shiny]) ** 3)
    mirrored = _mirrored(directions[shiny], normal[shiny])
    colour[shiny] += gloss[:, None] * (sky.environment(mirrored) - colour[shiny])
    if weather.wet:
        wet = np.flatnonzero(flat & (normal[:, 2] > 0.8))
        reflected, share = _wet_reflection(
            scenery, points[wet], directions[wet], normal[wet], cosine[wet], rng
        )
        colour[wet] += share * (reflected - colour[wet])
    veil = np.exp(-distance / np.float32(weather.visibility_m))[:, None]
    return colour * veil + sky.haze * (1.0 - veil)


def _pixel_rays(
    intrinsics: np.ndarray, size: tuple[int, int], world_from_camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions float32 [H*W, 3] in the world, and the cosine [H*W] to the optical axis."""
    column, row = np.meshgrid(
        np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32)
    )
    x = ((column - intrinsics[0, 2]) / intrinsics[0, 0]).ravel()
    y = ((row - intrinsics[1, 2]) / intrinsics[1, 1]).ravel()
    rays = np.stack([x, y, np.ones_like(x)], axis=1).astype(np.float32)
    along = 1.0 / np.sqrt(np.einsum("ni,ni->n", rays, rays))
    return (rays * along[:, None]) @ world_from_camera[:3, :3].T.astype(np.float32), along


def _pattern(
    points: np.ndarray, normal: np.ndarray, material: np.ndarray, footprint_m: np.ndarray
) -> np.ndarray:
    """Texture values [N, 4]: ground by x and y, walls by the way along them and z, plus large soft
    stains.
    """
    lying = np.abs(normal[:, 2]) > 0.7
    horizontal = np.maximum(np.hypot(normal[:, 0], normal[:, 1]), 1e-6)
    along_wall = (points[:, 1] * normal[:, 0] - points[:, 0] * normal[:, 1]) / horizontal
    u = np.where(lying, points[:, 0], along_wall)
    v = np.where(lying, points[:, 1], points[:, 2])
    texture = np.where(
        (_TEXTURE[material] == TEXTURE_ID["windows"]) & lying,
        TEXTURE_ID["none"],
        _TEXTURE[material],
    )
    pattern = look_up(texture, u, v, footprint_m)
    textured = texture != TEXTURE_ID["none"]
    pattern[textured, COLOUR] *= (0.8 + 0.4 * noise(u[textured] / 47.0, v[textured] / 47.0))[
        :, None
    ]
    return pattern


def _light(
    scenery: Scenery, hits: Hits, eye: np.ndarray, directions: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Irradiance float32 [H*W, 3]; in large images every second pixel's in both directions, spread
    over its neighbours.
    """
    height, width = size
    stride = 2 if width >= _HALF_FROM_WIDTH else 1
    chosen = np.arange(height * width).reshape(height, width)[::stride, ::stride]
    pixel = chosen.ravel()
    met = np.flatnonzero(hits.hit[pixel])
    pixel = pixel[met]
    points = eye + directions[pixel] * hits.range_m[pixel, None]
    computed = np.zeros((chosen.size, 3), np.float32)
    computed[met] = irradiance(scenery, points, hits.normal[pixel])
    if stride == 1:
        return computed
    spread = computed.reshape(*chosen.shape, 3).repeat(stride, axis=0).repeat(stride, axis=1)
    return np.ascontiguousarray(spread[:height, :width]).reshape(-1, 3)


def irradiance(scenery: Scenery, points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Light on surface points [N, 3] with normals [N, 3]: sky, sun with shadows, lamps; float32 [N,
    3].
    """
    sky = scenery.sky
    openness = 0.35 + 0.65 * (0.5 + 0.5 * normal[:, 2:3])
    light = openness * sky.ambient
    if scenery.weather.sun:
        facing = normal @ sky.sun_direction
        lit = np.flatnonzero(facing > 0)
        start = points[lit] + normal[lit] * 0.03
        towards_sun = np.broadcast_to(sky.sun_direction, start.shape)
        sunny = lit[~scenery.caster.blocked(start, towards_sun, np.inf, scenery.actors)]
        light[sunny] += facing[sunny, None] * sky.sun_colour
    if scenery.weather.dark:
        light += scenery.lamps.irradiance(points, normal)
    return light.astype(np.float32)


def _mirrored(directions: np.ndarray, normal: np.ndarray) -> np.ndarray:
    return directions - 2.0 * np.einsum("ni,ni->n", directions, normal)[:, None] * normal


def _wet_reflection(
    scenery: Scenery,
    points: np.ndarray,
    directions: np.ndarray,
    normal: np.ndarray,
    cosine: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """What wet ground mirrors, float32 [N, 3], and the share of it in what is seen, [N, 1]: more
    where water stands.
    """
    sky = scenery.sky
    # Asphalt is rough below the film: each pixel's mirror is tilted a little, which draws
    # reflections out towards the eye.
    tilted = normal + rng.normal(0.0, 0.03, normal.shape).astype(np.float32)
    tilted /= np.linalg.norm(tilted, axis=1, keepdims=True)
    way = _mirrored(directions, tilted)
    way[:, 2] = np.maximum(way[:, 2], 1e-3)
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    hits = scenery.caster.cast(points + tilted * 0.02, way, scenery.actors)
    seen = sky.radiance(way)
    met = np.flatnonzero(hits.hit)
    material = hits.material[met]
    light = sky.ambient * np.float32(0.7)
    if scenery.weather.dark:
        light = light + scenery.lamps.irradiance(
            points[met] + way[met] * hits.range_m[met, None], hits.normal[met]
        )
    seen[met] = _RGB[material] * hits.tint[met] * light
    if scenery.weather.lamps:
        seen[met] += (_EMISSION[material] * _LAMP_LIGHT)[:, None] * _RGB[material]
    puddle = noise(points[:, 0] / 19.0, points[:, 1] / 19.0)
    # Schlick's law for water (2 % head-on), helped where a film stands.
    share = (
        np.minimum(0.02 + 0.98 * (1.0 - cosine) ** 5, 0.6)
        * np.clip(0.9 * puddle + 0.15, 0.0, 1.0)
        * scenery.weather.wet
    )
    return seen, share[:, None]
