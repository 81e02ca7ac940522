"""The notebooks' exercises, three to a lesson: `EXERCISES[lesson, exercise]`.

The modules are named after what their lessons are about. Each computes the right answers and the wrong ones from minivan's own
functions; the teacher's key, with the way to each answer, is examples/answers.
"""

from . import kernels, looking, network, ports, precision, segmenting, training
from .exercise import Exercise, Mistake

EXERCISES: dict[tuple[int, int], Exercise] = {
    **kernels.EXERCISES,
    **network.EXERCISES,
    **ports.EXERCISES,
    **looking.EXERCISES,
    **precision.EXERCISES,
    **training.EXERCISES,
    **segmenting.EXERCISES,
}

__all__ = ["EXERCISES", "Exercise", "Mistake"]
