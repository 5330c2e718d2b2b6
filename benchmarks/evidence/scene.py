"""A body of dm_control over a textured floor before a textured backdrop, rendered in software.

The body is posed, not simulated: its root is placed so that its lowest point is where the state
says, hence crouching lowers it and lifting a leg does not.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from smile_motion.errors import InputError

from benchmarks.evidence.bodies import Body, Pose
from benchmarks.evidence.textures import TextureKind, draw_colors, draw_texture

BACKENDS = ("egl", "osmesa")
"""Ways of rendering without a screen, in the order in which they are tried."""
TEXTURE_PX = {"floor": (128, 128), "backdrop": (6 * 64, 64), "skin": (6 * 32, 32)}
"""Sides of the textures that are drawn anew for every clip; cubes are six squares."""
FIELD_DEG = 45.0
"""Vertical field of view, MuJoCo's own."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a body is in a frame, as the camera sees it; lengths in radii of the body."""

    limbs: tuple[float, ...]
    """How far each limb is raised, 0..1."""
    crouch: float
    """How far the legs are bent, 0..1."""
    bow: float
    """How far the trunk is bent, 0..1."""
    yaw: float
    """Heading about the vertical, radians; 0 looks to the right of the picture."""
    pitch: float
    """Tilt forward of the whole body, radians."""
    roll: float
    """Tilt in the plane of the picture, radians, counter-clockwise as seen."""
    across: float
    """Place to the right of the middle."""
    height: float
    """Lowest point over the floor."""
    distance: float
    """From the camera, over the distance that shows the body whole."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a clip looks like besides the movement."""

    azimuth_deg: float
    """Direction of the camera."""
    elevation_deg: float
    """Angle at which it looks down."""
    drift: tuple[float, float, float]
    """Change of its direction, degrees, and of its aim, radii, over the clip."""


class Stage:
    """Renders one body; colors, textures and light are drawn anew by `redecorate`."""

    def __init__(self, body: Body, size_px: int) -> None:
        """Load a body and open a renderer for frames of size_px x size_px.

        Raises:
            InputError: The packages are missing or nothing can render here.
        """
        import mujoco

        self.body, self.size_px = body, size_px
        self.model = self._compile(mujoco)
        self.data = mujoco.MjData(self.model)
        self._mujoco: Any = mujoco
        self._root = self.model.body(body.root).id
        self._base = self.model.body_quat[self._root].copy()
        self._own = np.flatnonzero(self.model.geom_bodyid > 0)
        self._colors = self.model.geom_rgba.copy()
        try:
            self._renderer = mujoco.Renderer(self.model, size_px, size_px)
        except Exception as error:
            raise InputError(
                f"MUJOCO_GL={os.environ.get('MUJOCO_GL')} renders nothing here ({error}); "
                f"install libegl1 or libosmesa6, and set MUJOCO_GL to egl or osmesa"
            ) from error
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_HAZE] = 0
        self._pose({})
        low, high = self._bounds()
        self.radius = float(np.linalg.norm(high - low)) / 2
        """Half the diagonal of the box around the body at rest, meters."""
        self.middle = float(high[2] - low[2]) / 2 / self.radius
        """Height of its middle over its lowest point, radii."""

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def redecorate(self, rng: np.random.Generator, kinds: tuple[TextureKind, ...]) -> None:
        """Draw colors, textures of some kinds, and light."""
        model, mujoco = self.model, self._mujoco
        for name, (rows, columns) in TEXTURE_PX.items():
            image = draw_texture(rng, kinds[rng.integers(len(kinds))], (rows, columns))
            texture = model.tex(name).id
            first = model.tex_adr[texture]
            model.tex_data[first : first + image.size] = image.ravel()
            mujoco.mjr_uploadTexture(model, self._renderer._mjr_context, texture)
        parts = draw_colors(rng, 3)
        model.geom_rgba[self._own, :3] = parts[rng.integers(3, size=len(self._own))]
        model.geom_rgba[self._own, 3] = self._colors[self._own, 3]
        model.mat_rgba[model.mat("skin").id, :3] = 0.4 + 0.6 * rng.random(3)
        turn, up = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.3)
        aim = -np.array([np.cos(turn) * np.cos(up), np.sin(turn) * np.cos(up), np.sin(up)])
        model.light_dir[0], model.light_pos[0] = aim, -6 * self.radius * aim
        model.light_diffuse[0] = rng.uniform(0.3, 0.7)
        model.vis.headlight.ambient[:] = rng.uniform(0.2, 0.45)
        model.vis.headlight.diffuse[:] = rng.uniform(0.1, 0.4)

    def render(self, states: list[State], look: Look) -> np.ndarray:
        """Render a clip, (T, size, size, 3) uint8."""
        mujoco = self._mujoco
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE
        whole = self.radius / np.tan(np.radians(FIELD_DEG / 2))
        frames = np.empty((len(states), self.size_px, self.size_px, 3), np.uint8)
        for number, state in enumerate(states):
            progress = number / max(len(states) - 1, 1) - 0.5
            self._place(state, np.radians(look.azimuth_deg))
            turn, aside, up = (progress * change for change in look.drift)
            right = np.radians(look.azimuth_deg - 90)
            camera.azimuth, camera.elevation = look.azimuth_deg + turn, look.elevation_deg
            camera.distance = whole * state.distance
            camera.lookat[:] = self.radius * np.array(
                [aside * np.cos(right), aside * np.sin(right), self.middle + up]
            )
            self._renderer.update_scene(self.data, camera)
            frames[number] = self._renderer.render()
        return frames

    def _compile(self, mujoco: Any) -> Any:
        spec = mujoco.MjSpec.from_file(str(_folder() / self.body.file))
        for kind in ("cameras", "sensors", "keys", "actuators", "lights"):
            for element in tuple(getattr(spec, kind)):
                spec.delete(element)
        root = spec.body(self.body.root)
        for joint in tuple(root.joints):
            spec.delete(joint)
        for name in self.body.left_out:
            spec.delete(spec.body(name))
        for geom in tuple(spec.worldbody.geoms):
            spec.delete(geom)
        for texture in tuple(spec.textures):
            if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
                spec.delete(texture)
        for site in tuple(spec.sites):
            site.rgba[3] = 0
        types = {
            "floor": mujoco.mjtTexture.mjTEXTURE_2D,
            "backdrop": mujoco.mjtTexture.mjTEXTURE_SKYBOX,
            "skin": mujoco.mjtTexture.mjTEXTURE_CUBE,
        }
        for name, (rows, columns) in TEXTURE_PX.items():
            _free_name(spec.textures, name)
            spec.add_texture(
                name=name,
                type=types[name],
                builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
                width=columns,
                height=rows if name == "floor" else columns,
                nchannel=3,
            )
        for name in ("floor", "skin"):
            _free_name(spec.materials, name)
            textures = [""] * mujoco.mjtTextureRole.mjNTEXROLE
            textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
            spec.add_material(name=name, textures=textures, texrepeat=[4, 4])
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_PLANE, size=[20, 20, 1], material="floor"
        )
        spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[0, 0, 6])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = spec.compile()
        own = model.geom_bodyid > 0
        model.geom_matid[own] = model.mat("skin").id
        if model.nskin:
            model.skin_matid[:] = model.mat("skin").id
        quality = model.vis.quality
        quality.shadowsize, quality.offsamples = 256, 0
        quality.numslices, quality.numstacks = 12, 8
        model.vis.global_.offwidth = model.vis.global_.offheight = self.size_px
        return model

    def _pose(self, pose: Pose) -> None:
        model, data = self.model, self.data
        data.qpos[:] = model.qpos0
        for part in (self.body.rest, pose):
            for joint, angle in part.items():
                data.qpos[model.joint(joint).qposadr[0]] += angle
        self._mujoco.mj_kinematics(model, data)

    def _place(self, state: State, azimuth: float) -> None:
        pose: dict[str, float] = {}
        parts = [*zip(self.body.limbs, state.limbs, strict=True)]
        parts += [(self.body.crouch, state.crouch), (self.body.bow, state.bow)]
        for angles, share in parts:
            for joint, angle in angles.items():
                pose[joint] = pose.get(joint, 0.0) + share * angle
        for joint in pose:
            low, high = self.model.joint(joint).range
            if low < high:
                rest = self.body.rest.get(joint, 0.0)
                pose[joint] = float(np.clip(pose[joint], low - rest, high - rest))
        right = azimuth - np.pi / 2  # MuJoCo's camera looks along its azimuth.
        aim = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        turned = _turn(np.array([0.0, 0.0, 1.0]), right + state.yaw)
        tilted = _turn(np.array([0.0, 1.0, 0.0]), state.pitch + state.bow * self.body.tilt)
        rolled = _turn(-aim, state.roll)
        model = self.model
        model.body_quat[self._root] = _times(_times(_times(rolled, turned), tilted), self._base)
        model.body_pos[self._root] = 0
        self._pose(pose)
        low, high = self._bounds()
        place = self.radius * state.across * np.array([np.cos(right), np.sin(right), 0.0])
        model.body_pos[self._root] = place - np.append(
            (low[:2] + high[:2]) / 2, low[2] - self.radius * state.height
        )
        self._mujoco.mj_kinematics(model, self.data)
        self._mujoco.mj_camlight(model, self.data)

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner of the box around the body, meters."""
        axes = self.data.geom_xmat[self._own].reshape(-1, 3, 3)
        box = self.model.geom_aabb[self._own]
        middle = self.data.geom_xpos[self._own] + (axes @ box[:, :3, None])[..., 0]
        reach = (np.abs(axes) @ box[:, 3:, None])[..., 0]
        return (middle - reach).min(0), (middle + reach).max(0)


def choose_backend() -> None:
    """Render by EGL unless MUJOCO_GL says otherwise; to be called before MuJoCo is imported."""
    os.environ.setdefault("MUJOCO_GL", BACKENDS[0])


def _folder() -> Path:
    found = find_spec("dm_control")
    if found is None or not found.submodule_search_locations:
        raise InputError("dm_control is not installed; uv sync --group evidence")
    return Path(found.submodule_search_locations[0])


def _free_name(elements: Any, name: str) -> None:
    for element in elements:
        if element.name == name:
            element.name = f"own_{name}"
    return


def _turn(axis: np.ndarray, angle: float) -> np.ndarray:
    return np.append(np.cos(angle / 2), np.sin(angle / 2) * axis)


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    vector = a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])
    return np.append(a[0] * b[0] - a[1:] @ b[1:], vector)
