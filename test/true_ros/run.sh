#!/usr/bin/env bash
# Builds the package with colcon in a workspace of its own, and runs these tests on the ROS 2
# installation that is sourced. Python's packages must be there: pip install '.[train,test]'.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if ! command -v ros2 > /dev/null || ! command -v colcon > /dev/null; then
    echo "skipped: ros2 or colcon is missing; source a ROS 2 installation with colcon" >&2
    exit 0
fi
workspace=$(mktemp -d)
trap 'rm -rf "$workspace"' EXIT
colcon --log-base "$workspace/log" build --packages-select occ_perception_ros \
    --base-paths . --build-base "$workspace/build" --install-base "$workspace/install"
set +u
source "$workspace/install/setup.bash"
set -u
python3 -m pytest test/true_ros "$@"
