"""Every tolerance of the tests, with its reason. 'Bit-equal' is not here: it is asserted on bytes."""

# `exact` rounds a float64 sum once, so it can differ from the rounded float64 reference only where the two float64 sums
# fall on different sides of a rounding boundary: one float32 step, on few elements. The second step is for results that
# cancel to far below their terms, where the order of the float64 sum shows.
EXACT_ULP = 2
EXACT_BIT_EQUAL_SHARE = 0.999

# PyTorch float32 sums in float32: its error grows with the length of the sum. Relative to the largest element.
TORCH_FLOAT32_OPERATOR = 2e-6

# Whole networks, relative to the largest logit: what float32 rounding between some 150 operators adds up to.
LOGITS = 2e-5

# Float64 against float64: the reference and the loops differ in the order of their sums alone.
FLOAT64 = 1e-12

# A derivative of `exact` is a float64 sum of float32 factors, rounded once: half a step, of the largest element.
GRADIENT_OPERATOR = 2.0**-23

# Derivatives of whole networks, relative to the largest one: float32 rounding forward, then back again.
GRADIENT_NETWORK = 5e-6

# The same in training form: what is left of a derivative after its mean over the batch is taken off has cancelled.
GRADIENT_TRAINING = 2e-5

# Central differences (f(x + h) - f(x - h)) / 2h in float64: the third derivative's share h^2 and rounding's share 1e-16 / h.
CENTRAL_DIFFERENCES = 1e-7

# The engine `fast` sums in float32 and folds BatchNorm and layer scale into the weights: relative to the largest element,
# the sum of several hundred roundings. Measured 2e-7 to 7e-7; the promise is 1e-4.
FAST = 5e-6

# The same of a Semantic FPN whose 3x3 convolutions go by Winograd, against float64, relative to the largest logit: with twice
# the authors' channels, of maps far from zero, measured 1e-6, twice what PyTorch's float32 has there.
WINOGRAD = 3e-6

# The engine `fast-bfloat16` rounds what its products read to 8 bits, the weights after BatchNorm and layer scale were folded
# into them: against `exact` with inputs and weights of its products rounded, which rounds other numbers. Relative to the
# largest logit or element of a stage. Measured 2e-3 to 9e-3 of logits, as much as either is from `exact`.
BFLOAT16 = 3e-2

# Maps of minivan.explain, float32 sums of a few hundred terms in another order: relative to the largest element.
MAPS = 1e-6

# Grad-CAM from PyTorch hooks, in float64, against float32 forward and backward passes of a whole network: far below this.
HOOKS = 1e-4

# JSON rounds the numbers of a map to six digits.
JSON_DIGITS = 1e-5

# Probabilities of a whole network that PyTorch computes in float32 too: LOGITS, of logits of up to some twenty.
PROBABILITY = 1e-4

# Probabilities of `exact` and `numpy`, each printed to six digits: a unit of the last digit either way.
PRINTED = 2e-6

# The same of `fast` and `exact`, whose logits differ by some 1e-6 of the largest.
PRINTED_BY_FAST = 5e-6

# Float64 networks against each other: what FLOAT64 of some dozens of operators adds up to, forward and back.
FLOAT64_NETWORK = 1e-11

# A float64 result rounded once to float32: half a step, of the largest element.
ROUNDED_ONCE = 2.0**-23

# The mean of a class activation map and the class's bias against its logit: the network's last two sums in another order.
LOGIT_OF_MAP = 1e-5

# A whole network of `exact`, which rounds to float32 between some 150 operators, against float64 throughout.
EXACT_NETWORK = 1e-6

# Numbers that a lesson prints, two or three digits of them: another processor's rounding may turn the last one.
LESSON_RELATIVE = 0.02
LESSON_ABSOLUTE = 0.011

# Logits of a regression that scikit-learn ends where its gradient is below 1e-4, on features of mean 0 and deviation 1.
REGRESSION = 2e-2
