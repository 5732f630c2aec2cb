"""The seven incidents."""

from compose.demo.scenarios.base import Result, Scenario, Told, play_all
from compose.demo.scenarios.image_pull import ImagePull
from compose.demo.scenarios.low_confidence import LowConfidence
from compose.demo.scenarios.node import DeadNode
from compose.demo.scenarios.not_fixed import NotFixed
from compose.demo.scenarios.oom import OutOfMemory
from compose.demo.scenarios.storm import Storm
from compose.demo.scenarios.storm_stop import StormStop

ALL: tuple[type[Scenario], ...] = (OutOfMemory, ImagePull, DeadNode, LowConfidence, NotFixed, Storm, StormStop)
"""In the order of showing."""

__all__ = ["ALL", "DeadNode", "ImagePull", "LowConfidence", "NotFixed", "OutOfMemory", "Result", "Scenario"]
__all__ += ["Storm", "StormStop", "Told", "play_all"]
