"""Renders one camera image of a drive: ray casting, textures, light, and the optics in the weather.

Light comes from the sun, the sky and lamps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.sensors.exposure import metered_exposure
from training.world.sensors.glare import add_lamp_glare
from training.world.sensors.lens import blur, scatter_lights
from training.world.sensors.lights import LampSet
from training.world.sensors.optics import develop
from training.world.sensors.raycast import Hits, PosedActors, RayCaster
from training.world.sensors.rig import CameraSpec
from training.world.sensors.sky import Sky
from training.world.things.materials import MATERIALS
from training.world.things.textures import COLOUR, LIGHT, TEXTURE_ID, look_up, noise
from training.world.weather import Weather

# To linear light: the listed colours lie between albedo and display values.
_RGB = np.array([material.rgb for material in MATERIALS], np.float32) ** 1.5
_TEXTURE = np.array([TEXTURE_ID[material.texture] for material in MATERIALS], np.int32)
_SPECULAR = np.array([material.specular for material in MATERIALS], np.float32)
_EMISSION = np.array([material.emission for material in MATERIALS], np.float32)
_FLAT_CATEGORIES = (24, 25, 26)
_CHUNK_PIXELS = 32_768
_HALF_LIGHT_MIN_WIDTH = 800
"""In images at least this wide, light is computed for every second pixel in both directions."""
_LAMP_LIGHT = 6.0
_NIGHT_SHUTTER = 4.0
"""Exposure takes this many times longer in the dark."""
_WINDOW_LIGHT = np.array([0.55, 0.42, 0.25], np.float32)


@dataclass(frozen=True)
class RgbdImage:
    """A rendered image with its depth."""

    rgb: np.ndarray
    """uint8 [H, W, 3]."""
    depth_m: np.ndarray
    """float32 [H, W], along the optical axis; inf in the sky."""


@dataclass(frozen=True)
class LitScene:
    """Everything visible at one time, and its light."""

    caster: RayCaster
    actors: PosedActors
    lamps: LampSet
    sky: Sky
    weather: Weather


def render(
    scene: LitScene,
    camera: CameraSpec,
    size: tuple[int, int],
    world_from_camera: np.ndarray,
    rng: np.random.Generator,
    lateral_mps: float = 0.0,
) -> RgbdImage:
    """The image of ``camera`` at ``size`` (height, width).

    Args:
        scene: what the camera sees.
        camera: gives the intrinsics.
        size: height and width in pixels.
        world_from_camera: [4, 4].
        rng: of sensor noise, drops on the lens and the roughness of wet ground.
        lateral_mps: speed of the camera to its own right.
    """
    height, width = size
    intrinsics = camera.intrinsics(size)
    directions, cosine_to_axis = _pixel_rays(intrinsics, size, world_from_camera)
    eye = world_from_camera[:3, 3].astype(np.float32)
    hits = scene.caster.cast_image(eye, directions, size, scene.actors)
    is_hit = hits.is_hit
    light = _image_irradiance(scene, hits, eye, directions, size)
    pixel_angle = np.float32(1.0 / intrinsics[0, 0])
    radiance = np.empty((height * width, 3), np.float32)
    # Chunks of pixels fit into the cache of the processor.
    for start in range(0, height * width, _CHUNK_PIXELS):
        chunk = np.arange(start, min(start + _CHUNK_PIXELS, height * width))
        in_sky, on_surface = chunk[~is_hit[chunk]], chunk[is_hit[chunk]]
        radiance[in_sky] = scene.sky.radiance(directions[in_sky])
        radiance[on_surface] = _surface_radiance(
            scene,
            hits,
            on_surface,
            eye,
            directions[on_surface],
            light[on_surface],
            pixel_angle,
            rng,
        )
    depth_m = (hits.range_m * cosine_to_axis).reshape(height, width)
    picture = radiance.reshape(height, width, 3)
    image = _photograph(scene, camera, picture, depth_m, world_from_camera, rng, lateral_mps)
    return RgbdImage(image, depth_m)


def _photograph(
    scene: LitScene,
    camera: CameraSpec,
    radiance: np.ndarray,
    depth_m: np.ndarray,
    world_from_camera: np.ndarray,
    rng: np.random.Generator,
    lateral_mps: float,
) -> np.ndarray:
    """The image uint8 [H, W, 3] that the camera makes of the light [H, W, 3]."""
    weather, look = scene.weather, camera.look
    intrinsics = camera.intrinsics(radiance.shape[:2])
    is_dark = weather.is_dark
    exposure = metered_exposure(radiance, scene.sky.exposure, look, is_dark=is_dark)
    if weather.lamp_glare:
        if weather.lamps_lit:
            surroundings = scene.caster, scene.actors
            add_lamp_glare(
                radiance,
                scene.lamps,
                surroundings,
                world_from_camera,
                intrinsics,
                weather.lamp_glare,
            )
        radiance = scatter_lights(radiance, exposure)
    shutter_s = look.shutter_s * (_NIGHT_SHUTTER if is_dark else 1.0)
    radiance = blur(radiance, depth_m, look, lateral_mps * shutter_s, intrinsics[0, 0])
    return develop(radiance, exposure, weather, rng, look)


def irradiance(scene: LitScene, points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Light on surface points [N, 3] with normals [N, 3], float32 [N, 3].

    The sum of the sky, the sun with shadows, and at night the lamps.
    """
    sky = scene.sky
    openness = 0.35 + 0.65 * (0.5 + 0.5 * normal[:, 2:3])
    light = openness * sky.ambient
    if scene.weather.sun:
        facing = normal @ sky.sun_direction
        facing_sun = np.flatnonzero(facing > 0)
        start = points[facing_sun] + normal[facing_sun] * 0.03
        towards_sun = np.broadcast_to(sky.sun_direction, start.shape)
        in_shadow = scene.caster.is_blocked(start, towards_sun, np.inf, scene.actors)
        sunny = facing_sun[~in_shadow]
        light[sunny] += facing[sunny, None] * sky.sun_colour
    if scene.weather.is_dark:
        light += scene.lamps.irradiance(points, normal)
    return light.astype(np.float32)


def _pixel_rays(
    intrinsics: np.ndarray, size: tuple[int, int], world_from_camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions float32 [H*W, 3] in the world, and their cosine [H*W] to the optical axis."""
    column, row = np.meshgrid(
        np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32)
    )
    x = ((column - intrinsics[0, 2]) / intrinsics[0, 0]).ravel()
    y = ((row - intrinsics[1, 2]) / intrinsics[1, 1]).ravel()
    rays = np.stack([x, y, np.ones_like(x)], axis=1).astype(np.float32)
    cosine = 1.0 / np.sqrt(np.einsum("ni,ni->n", rays, rays))
    return (rays * cosine[:, None]) @ world_from_camera[:3, :3].T.astype(np.float32), cosine


def _image_irradiance(
    scene: LitScene, hits: Hits, eye: np.ndarray, directions: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Light on the surface at every pixel, float32 [H*W, 3]; 0 in the sky.

    In wide images it is computed for one pixel in 2 x 2 and repeated.
    """
    height, width = size
    stride = 2 if width >= _HALF_LIGHT_MIN_WIDTH else 1
    sampled = np.arange(height * width).reshape(height, width)[::stride, ::stride]
    pixel = sampled.ravel()
    on_surface = np.flatnonzero(hits.is_hit[pixel])
    pixel = pixel[on_surface]
    points = eye + directions[pixel] * hits.range_m[pixel, None]
    light = np.zeros((sampled.size, 3), np.float32)
    light[on_surface] = irradiance(scene, points, hits.normal[pixel])
    if stride == 1:
        return light
    repeated = light.reshape(*sampled.shape, 3).repeat(stride, axis=0).repeat(stride, axis=1)
    return np.ascontiguousarray(repeated[:height, :width]).reshape(-1, 3)


def _surface_radiance(
    scene: LitScene,
    hits: Hits,
    pixel: np.ndarray,
    eye: np.ndarray,
    directions: np.ndarray,
    light: np.ndarray,
    pixel_angle: np.float32,
    rng: np.random.Generator,
) -> np.ndarray:
    """Light float32 [K, 3] that reaches the eye from the hits of the pixels ``pixel`` [K]."""
    sky, weather = scene.sky, scene.weather
    distance, normal, material = hits.range_m[pixel], hits.normal[pixel], hits.material[pixel]
    points = eye + directions * distance[:, None]
    cosine = np.abs(np.einsum("ni,ni->n", normal, directions))
    footprint_m = distance * pixel_angle / np.sqrt(np.maximum(cosine, 0.04))
    texture = _texture_values(points, normal, material, footprint_m)
    colour = _RGB[material] * hits.tint[pixel] * texture[:, COLOUR] * light
    flat = np.isin(hits.category[pixel], _FLAT_CATEGORIES)
    if weather.wetness:
        colour[flat] *= 1.0 - 0.45 * weather.wetness
    if weather.lamps_lit:
        colour += (_EMISSION[material] * _LAMP_LIGHT)[:, None] * _RGB[material]
        colour += texture[:, LIGHT, None] * _WINDOW_LIGHT * sky.window_brightness

    glossy = np.flatnonzero(_SPECULAR[material] > 0.05)
    gloss = _SPECULAR[material[glossy]] * (0.25 + 0.75 * (1.0 - cosine[glossy]) ** 3)
    mirrored = _mirrored(directions[glossy], normal[glossy])
    colour[glossy] += gloss[:, None] * (sky.environment(mirrored) - colour[glossy])
    if weather.wetness:
        wet = np.flatnonzero(flat & (normal[:, 2] > 0.8))
        reflected, fraction = _wet_reflection(
            scene, points[wet], directions[wet], normal[wet], cosine[wet], rng
        )
        colour[wet] += fraction * (reflected - colour[wet])
    transmission = np.exp(-distance / np.float32(weather.visibility_m))[:, None]
    return colour * transmission + sky.haze * (1.0 - transmission)


def _texture_values(
    points: np.ndarray, normal: np.ndarray, material: np.ndarray, footprint_m: np.ndarray
) -> np.ndarray:
    """Texture values [N, 4] at surface points, with large soft stains.

    Texture coordinates are x and y on the ground; on walls, the way along the wall and z.
    """
    is_ground = np.abs(normal[:, 2]) > 0.7
    horizontal = np.maximum(np.hypot(normal[:, 0], normal[:, 1]), 1e-6)
    along_wall = (points[:, 1] * normal[:, 0] - points[:, 0] * normal[:, 1]) / horizontal
    u = np.where(is_ground, points[:, 0], along_wall)
    v = np.where(is_ground, points[:, 1], points[:, 2])
    roof_of_windows = (_TEXTURE[material] == TEXTURE_ID["windows"]) & is_ground
    texture = np.where(roof_of_windows, TEXTURE_ID["none"], _TEXTURE[material])
    values = look_up(texture, u, v, footprint_m)
    textured = texture != TEXTURE_ID["none"]
    stains = 0.8 + 0.4 * noise(u[textured] / 47.0, v[textured] / 47.0)
    values[textured, COLOUR] *= stains[:, None]
    return values


def _mirrored(directions: np.ndarray, normal: np.ndarray) -> np.ndarray:
    return directions - 2.0 * np.einsum("ni,ni->n", directions, normal)[:, None] * normal


def _wet_reflection(
    scene: LitScene,
    points: np.ndarray,
    directions: np.ndarray,
    normal: np.ndarray,
    cosine: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The reflection in wet ground, float32 [N, 3], and its fraction of the visible light [N, 1].

    The fraction is larger in puddles.
    """
    sky = scene.sky
    # Asphalt is rough below the film: each pixel's mirror is tilted a little, which stretches
    # reflections towards the eye.
    tilted = normal + rng.normal(0.0, 0.03, normal.shape).astype(np.float32)
    tilted /= np.linalg.norm(tilted, axis=1, keepdims=True)
    mirrored = _mirrored(directions, tilted)
    mirrored[:, 2] = np.maximum(mirrored[:, 2], 1e-3)
    mirrored /= np.linalg.norm(mirrored, axis=1, keepdims=True)
    hits = scene.caster.cast(points + tilted * 0.02, mirrored, scene.actors)
    reflected = sky.radiance(mirrored)
    hit = np.flatnonzero(hits.is_hit)
    material = hits.material[hit]
    light = sky.ambient * np.float32(0.7)
    if scene.weather.is_dark:
        hit_points = points[hit] + mirrored[hit] * hits.range_m[hit, None]
        light = light + scene.lamps.irradiance(hit_points, hits.normal[hit])
    reflected[hit] = _RGB[material] * hits.tint[hit] * light
    if scene.weather.lamps_lit:
        reflected[hit] += (_EMISSION[material] * _LAMP_LIGHT)[:, None] * _RGB[material]
    puddle = noise(points[:, 0] / 19.0, points[:, 1] / 19.0)
    # Schlick's approximation for water, which reflects 2 % head-on; more in puddles.
    fraction = (
        np.minimum(0.02 + 0.98 * (1.0 - cosine) ** 5, 0.6)
        * np.clip(0.9 * puddle + 0.15, 0.0, 1.0)
        * scene.weather.wetness
    )
    return reflected, fraction[:, None]
