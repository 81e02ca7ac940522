"""The lesson that `python -m minivan lka` tells, and what grades the notebooks' exercises.

`numbers` and `photo` compute, the modules named after chapters tell, `chapters` puts them in order, `pictures` draws in
characters, `figure` in Matplotlib. `grading` judges a student's answer by what `exercises` knows: `check(3, 1, my_answer)`.
"""

from .grading import check, compare, grade

__all__ = ["check", "compare", "grade"]
