"""The chapter on the gate."""

TEXTS = {
    "gate.multiplies": (
        """Steps 1 to 3 have made a map of *attention* values: one for each number of the map that came in. LKA now simply
        multiplies the two, number by number: a *gate*, which lets through, dims, swells or turns over. By hand, on a row
        of six positions u, with an attention a of three weights instead of a large kernel. The last rows show what other
        networks would make of a: a *sigmoid* squeezes any number into 0 to 1, a *softmax* makes of several numbers
        positive ones that add up to 1, as self-attention does.""",
        """第 1 步到第 3 步得到了一张 *注意力*（attention）图：输入特征图的每个数都对应一个注意力值。接下来 LKA
        只是把两者逐个相乘：这就是 *门控*（gate），它可以放行、减弱、放大，也可以反号。下面用手算来看：u 是一行六个位置，
        注意力 a 用三个权重算出，代替大核。最后几行是别的网络会怎样处理 a：*sigmoid* 把任何数压到 0 到 1 之间，
        *softmax* 把若干个数变成和为 1 的正数，自注意力就是这样做的。""",
    ),
    "gate.position": ("position", "位置"),
    "gate.u": ("u, what came in", "u，输入"),
    "gate.a": ("a, attention", "a，注意力"),
    "gate.gated": ("u x a, the gate", "u x a，门控"),
    "gate.doubled": ("the same for 2 u", "输入为 2 u 时"),
    "gate.sigmoid": ("sigmoid(a)", "sigmoid(a)"),
    "gate.sigmoid_gated": ("u x sigmoid(a)", "u x sigmoid(a)"),
    "gate.softmax": ("softmax(a)", "softmax(a)"),
    "gate.by_hand": (
        """The weights are {a}, {b}, {c}: more than your neighbours? At position 3 they read {left}, {own},
        {right}, and {a} x {left} + {b} x {own} + {c} x {right} = {attention}. Times u = {own}
        that is {gated}. The peaks grow, what stands in their shadow turns negative.""",
        """权重是 {a}、{b}、{c}，问的是：你比邻居大吗？在位置 3，它们读到 {left}、{own}、{right}，
        于是 {a} x {left} + {b} x {own} + {c} x {right} = {attention}。再乘以 u = {own}，得 {gated}。
        山峰变得更高，山峰旁边的变成了负数。""",
    ),
    "gate.no_convolution": (
        """After a sigmoid a gate can only dim, and nothing turns over. After a softmax the positions compete for a fixed
        sum, {sum}. LKA does without both: its attention has any sign and any
        size, so it is no probability. And since the attention comes from u itself, u is multiplied by something that grows
        with u: twice the input gives {ratio} times the output. (Exactly so without a *bias*, a learned number that is added
        to every sum; a later chapter measures a trained network, which has some.) No convolution can do that; this is what
        the gate adds.""",
        """经过 sigmoid，门控就只能减弱，什么也不会反号。经过 softmax，各个位置就要争夺一个固定的总和 {sum}。LKA 两者都不用：
        它的注意力可正可负，可大可小，所以不是概率。而且注意力由 u 自己算出，u 乘上的是一个随 u 增大的数：
        输入加倍，输出就变成 {ratio} 倍。（没有 *偏置*（bias）时恰好如此；偏置是学到的、加在每个和上的一个数。
        后面会测量一个训练好的网络，它是有偏置的。）任何卷积都做不到这一点，这正是门控带来的东西。""",
    ),
}
