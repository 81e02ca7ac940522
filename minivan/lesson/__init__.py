"""The lesson that `python -m minivan lka` tells: `numbers` computes, `chapters` tells, `pictures` draws in characters."""
