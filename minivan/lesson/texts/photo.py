"""The chapter that follows one number of a photo."""

TEXTS = {
    "photo.network": (
        """Now {image}, through a network that was really trained ({weights}): it tells {classes} kinds of
        things apart, its *classes*. It has {blocks} *blocks*, each one LKA with pointwise layers around it and always
        K = {K} and d = {d}, in {stages} *stages*, each with smaller maps than the last.
        The photo goes in at {height} x {width}; the first layer makes a map of {H} x {W} positions with
        {channels} channels. On the left the photo at that size. On the right channel {channel} of the first
        block's attention, of all the one that does most of both, lifting numbers and turning them over: '#'
        far above zero, '+' above, blank near zero, '-' below, '=' far below.""",
        """现在让 {image} 通过一个真正训练过的网络（{weights}）：它能分辨 {classes} 种东西，称为 *类别*（class）。
        它有 {blocks} 个 *块*（block），每个块是一个 LKA 加上前后的逐点卷积，总是取 K = {K}、d = {d}；
        这些块分属 {stages} 个 *阶段*（stage），特征图一个阶段比一个阶段小。照片以 {height} x {width} 输入，
        第一层得到一张 {H} x {W} 个位置、{channels} 个通道的特征图。左图是缩到这个大小的照片。
        右图是第一个块的注意力的通道 {channel}，在所有通道中，它既把许多值放大，又使许多值反号：
        '#' 远大于零，'+' 大于零，空白接近零，'-' 小于零，'=' 远小于零。""",
    ),
    "photo.near": (
        """Follow this channel's attention value furthest from zero: row {row}, column {column}, counted from 0
        at the top and at the left. Step 1 adds {products} of channel {channel}, here the
        largest first, and its bias:""",
        """来跟踪这个通道中离零最远的注意力值：第 {row} 行第 {column} 列，行从上往下、列从左往右，都由 0 数起。
        第 1 步把通道 {channel} 的 {products}加起来，这里按绝对值从大到小排列，再加上偏置：""",
    ),
    "photo.far": (
        "Step 2 does the same on the map that step 1 made, {products}:",
        "第 2 步在第 1 步得到的特征图上做同样的事，共 {products}：",
    ),
    "photo.products": ("{met} products", "{met} 个乘积"),
    "photo.products_off": (
        "{met} products (its other {off} weights meet padding)",
        "{met} 个乘积（其余 {off} 个权重落在填充上）",
    ),
    "photo.mix": (
        "Step 3 stays at the place and mixes what step 2 made there in all {channels} channels:",
        "第 3 步停在原处，把第 2 步在那里得到的全部 {channels} 个通道混合起来：",
    ),
    "photo.product": ("{value} x weight {weight}", "{value} x 权重 {weight}"),
    "photo.place": ("row {row}, column {column}", "第 {row} 行第 {column} 列"),
    "photo.channel": ("channel {channel}", "通道 {channel}"),
    "photo.others": ("the other {count}", "其余 {count} 项"),
    "photo.bias": ("and the bias", "加上偏置"),
    "photo.once_more": (
        "All the steps once more, computed by hand on the left, as the network had it on the right:",
        "把各步再列一遍，左边是手算的结果，右边是网络中的值：",
    ),
    "photo.step_1": ("step 1, near", "第 1 步，近程"),
    "photo.step_2": (
        "step 2, far ({met} of {taps} on the map)",
        "第 2 步，远程（{taps} 个权重中有 {met} 个在图上）",
    ),
    "photo.step_3": (
        "step 3, {channels} channels mixed: the attention",
        "第 3 步，混合 {channels} 个通道：注意力",
    ),
    "photo.gate": ("the gate: {u} x {attention}", "门控：{u} x {attention}"),
    "photo.by_hand": ("by hand", "手算"),
    "photo.of_network": ("network", "网络"),
    "photo.apart": ("They are at most {apart} apart, rounding.", "两者最多相差 {apart}，是舍入误差。"),
    "photo.same": ("They are the same to the last digit.", "两者一位不差。"),
    "photo.any_sign": (
        """In this block attention runs from {lowest} to {highest}; of all {values} attention values of the {blocks} blocks
        {negative} % are negative, and {above_one} % lie further than 1 from zero.
        No sigmoid and no softmax could have said that. And twice the input gives {doubled} times the output of this
        gate, measured by the root of the sum of squares: the 4 of chapter 9, but for the biases.""",
        """在这个块里，注意力从 {lowest} 到 {highest} 不等；在 {blocks} 个块的全部 {values} 个注意力值中，{negative}% 是负数，
        {above_one}% 的绝对值大于 1。sigmoid 和 softmax 都给不出这样的值。而且，输入加倍时，
        这个门控的输出变成 {doubled} 倍（按平方和的平方根计算）：若没有偏置，就是第 9 章的 4 倍。""",
    ),
    "photo.last_maps": (
        """And one thing hardly anyone expects: maps shrink from stage to stage, the kernels do not. In the last blocks the map
        is {H} x {W}, and of the {taps} weights of step 2 at most {met}
        can meet it; the others multiply padding. Only on large maps can the large kernel earn its keep.""",
        """还有一件事几乎没有人想到：特征图一个阶段比一个阶段小，卷积核却不变。在最后几个块里，特征图只有 {H} x {W}，
        第 2 步的 {taps} 个权重中最多有 {met} 个能落在图上，其余的乘的都是填充。大核要在大的特征图上才有用武之地。""",
    ),
    "photo.matters": (
        """Does the gate matter? The network's answer is {label}, with probability {probability}; the
        probabilities of all classes add up to 1. With every attention value replaced by 1, so that the gates stand open
        and the large kernels have no say, it {then}.""",
        """门控真的重要吗？网络的回答是 {label}，概率为 {probability}；所有类别的概率之和为 1。
        如果把每个注意力值都换成 1，让门全部敞开，大核不再起作用，网络{then}。""",
    ),
    "photo.other_answer": (
        "answers {opened} instead, at {opened_probability}, and leaves {label} {left}",
        "的回答就变成 {opened}，概率为 {opened_probability}，{label} 只剩下 {left}",
    ),
    "photo.stays": ("stays with it, at {opened_probability}", "仍坚持原来的回答，概率为 {opened_probability}"),
}
