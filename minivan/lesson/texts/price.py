"""The chapters on what attention is, and on what looking far costs."""

TEXTS = {
    "unit.billions": ("In billions of millions of multiply-adds", "以千万亿次乘加计"),
    "unit.millions": ("In millions of millions of multiply-adds", "以万亿次乘加计"),
    "unit.thousands": ("In thousands of millions of multiply-adds", "以十亿次乘加计"),
    "unit.million": ("In millions of multiply-adds", "以百万次乘加计"),
    "unit.one": ("Multiply-adds", "乘加次数"),
    "channels.one": ("its one channel", "仅有的一个通道"),
    "channels.all": ("all {C} channels", "全部 {C} 个通道"),
    "words.map": (
        """A network for images works in *layers*, one after another. What they hand on is a *map*, a grid of numbers;
        every layer turns one map into the next. Ours here is {size} x {size}, so it has {positions} *positions*,
        and at each position it holds not one number but C = {C}: the *channels*. The photo itself is such a map with
        three channels (red, green, blue); later channels stand for things the network has learned to notice, edges at
        first, eyes or wheels in the end. This map is {positions} x {C} = {numbers} numbers.""",
        """处理图像的网络由一个接一个的 *层*（layer）组成。层与层之间传递的是 *特征图*（feature map），即排成网格的数；
        每一层把一张特征图变成下一张。这里的特征图是 {size} x {size}，共有 {positions} 个 *位置*（position），
        而每个位置上不止一个数，有 C = {C} 个，称为 *通道*（channel）。照片本身就是一张特征图，有三个通道（红、绿、蓝）；
        越往后，通道表示的越是网络学会辨认的东西，起初是边缘，最后是眼睛或车轮。
        这张特征图共有 {positions} x {C} = {numbers} 个数。""",
    ),
    "words.convolution": (
        """A *convolution* makes a new map from a map. Each new number is a sum over a small square of positions: every
        number in the square times a *weight*, all added up. The square of weights is the *kernel*; it slides over the
        map and is the same everywhere. Where it hangs over the edge, it reads zeros: the *padding*. A weight is also
        called a *parameter*. *Training* finds it, by showing the network many examples and nudging every weight until the
        answers come out right; after that it stays as it is. One product and its addition to the sum is one
        *multiply-add*: parameters are the price in memory, multiply-adds the price in time.""",
        """*卷积*（convolution）由一张特征图得到一张新的特征图。每个新的数都是对一小块正方形区域的求和：
        区域内的每个数乘以一个 *权重*（weight），再全部加起来。这一方块权重就是 *卷积核*（kernel），它在特征图上滑动，
        处处相同。超出边缘的部分读到的是零，称为 *填充*（padding）。权重也叫 *参数*（parameter），由 *训练*（training）得到：
        给网络看大量样本，一点一点地调整每个权重，直到回答正确；此后权重就不再改变。做一次乘法，再加到和里，
        称为一次 *乘加*（multiply-add）：参数是内存上的代价，乘加是时间上的代价。""",
    ),
    "neighbours.attention": (
        """*Attention* means: at each position, decide from the surroundings how much each number there matters, and
        scale it by that. A dark dot may be a cat's pupil or a hole in a wall; the dot itself does not say which. So
        the deciding must look far around.""",
        """*注意力*（attention）是指：在每个位置上，根据周围的情况决定那里的每个数有多重要，再按此缩放。
        一个黑点可能是猫的瞳孔，也可能是墙上的洞，单看这个点是分不清的。所以，作决定时必须看得足够远。""",
    ),
    "neighbours.layers": (
        """A 3 x 3 kernel sees {seen} positions. A second 3 x 3 on top of it sees one more on each side, and
        so on: before one number in the middle of our {size} x {size} map depends on both of its edges,
        {layers} {layers:layer|layers} must follow one another.""",
        """一个 3 x 3 的卷积核能看到 {seen} 个位置。再叠一个 3 x 3，每一侧就多看到一个位置，如此类推：
        要让 {size} x {size} 特征图正中的一个数同时取决于两侧的边缘，必须叠 {layers} 层。""",
    ),
    "neighbours.own": (
        "The kernel of this lesson sees 1 position, its own: however many follow one another, they see no further.",
        "本课的卷积核只看到 1 个位置，也就是它自己：无论叠多少层，都不会看得更远。",
    ),
    "neighbours.ours": (
        """With the kernel of this lesson, {K} x {K} = {seen} positions by its name, {layers} {layers:layer|layers} will do.""",
        """而用本课的卷积核，按名义大小 {K} x {K} = {seen} 个位置算，{layers} 层就够了。""",
    ),
    "prices.self_attention": (
        """*Self-attention*, the way of the *transformers* behind chat programs, lets every position look at every other:
        each pair gets a score. {positions} {positions:position makes|positions make} {positions} x {positions} = {scores}
        {scores:score|scores}; each takes C = {C} {C:multiply-add|multiply-adds} to make and as many to use, and every
        position takes 4 x {C} x {C} more, four layers that prepare and finish. That is {total}.""",
        """*自注意力*（self-attention）是聊天程序背后的 *Transformer* 所用的办法：让每个位置都去看其他所有位置，
        每一对位置都要算一个分数。{positions} 个位置有 {positions} x {positions} = {scores} 个分数；
        每个分数算出来要 C = {C} 次乘加，用起来又要同样多；此外还有负责前后变换的四个层，
        每个位置要 4 x {C} x {C} 次。总共是 {total} 次。""",
    ),
    "prices.dense": (
        """A *dense* K x K kernel looks at a square of {K} x {K} = {taps} {taps:position|positions}, reads {channels} there,
        and has a set of weights of its own for each of the {C} new ones: {taps} x {C} x {C} = {weights}
        {weights:weight|weights}, each used once per position. *LKA*, large kernel attention, is what this lesson builds,
        from {lka} {lka:weight|weights}. The network of the paper, VAN, has two layers of {C} x {C} around
        it that prepare and finish: with them it is VAN's attention, to be set beside self-attention. {unit}:""",
        """K x K 的 *普通卷积*（dense convolution）看的是 {K} x {K} = {taps} 个位置的正方形，读取那里{channels}，
        而且对 {C} 个新通道各有一套自己的权重：{taps} x {C} x {C} = {weights} 个权重，每个权重在每个位置上用一次。
        *LKA*（large kernel attention，大核注意力）就是本课要搭建的东西，只用 {lka} 个权重。
        论文的网络 VAN 在它前后还各有一个 {C} x {C} 的层，负责前后变换；加上这两层才是 VAN 的注意力，
        才能与自注意力相提并论。{unit}：""",
    ),
    "prices.map": ("map", "特征图"),
    "prices.positions": ("positions", "位置数"),
    "prices.of_self_attention": ("self-\nattention", "自注意力"),
    "prices.of_van": ("VAN's\nattention", "VAN 的\n注意力"),
    "prices.of_dense": ("dense\n{K} x {K}", "普通卷积\n{K} x {K}"),
    "prices.of_lka": ("LKA\nalone", "仅 LKA"),
    "prices.growth": (
        """Going from {size} to {twice}, the map has 4 times the positions. The dense kernel and LKA then
        cost {linear} times as much: *linear* growth. Self-attention costs {quadratic} times as much, on the way to 16:
        *quadratic* growth, the pairs being the square of the positions. It takes {smallest} times the work of VAN's
        attention on the smallest of these maps, {largest} times on the largest.""",
        """边长由 {size} 变为 {twice} 时，位置数变成 4 倍。普通卷积与 LKA 的计算量变成 {linear} 倍，这是 *线性*（linear）增长；
        自注意力变成 {quadratic} 倍，并且会趋近 16 倍，这是 *平方级*（quadratic）增长，因为位置对的数目是位置数的平方。
        在表中最小的特征图上，它的计算量是 VAN 的注意力的 {smallest} 倍，在最大的特征图上则是 {largest} 倍。""",
    ),
    "prices.starts_high": (
        "The dense kernel grows gently but starts high: {times} times LKA. How LKA gets away with so little is next.",
        "普通卷积增长虽缓，起点却很高：是 LKA 的 {times} 倍。LKA 何以如此节省，请看下一章。",
    ),
    "prices.saves_nothing": (
        "Here LKA saves next to nothing; it pays for large kernels and many channels, and how is next.",
        "在这里 LKA 几乎省不下什么；卷积核大、通道多时它才划算，个中道理请看下一章。",
    ),
    "prices.stride": (
        """Neither kind of network starts on maps as large as its photo. VAN's first layer steps {stride} positions at a
        time: a photo of {side} x {side} makes the {size} x {size} of this lesson.
        Transformers for images usually step further, for the reason in the table.""",
        """这两类网络都不会直接在与照片一样大的特征图上开始。VAN 的第一层每次跨 {stride} 个位置：
        {side} x {side} 的照片得到本课的 {size} x {size}。用于图像的 Transformer 通常跨得更大，原因就在表里。""",
    ),
    "widths.mobilenet": (
        """MobileNet, a network made for telephones, had gone half of the way before: one depthwise kernel, of 3 x 3 there,
        then a 1 x 1. Here its way is taken with {K} x {K}. Parameters of the three forms (multiply-adds are these times the
        positions), and how many times LKA's the others are:""",
        """为手机设计的网络 MobileNet 此前已走到半路：先做一个深度卷积（那里是 3 x 3），再做一个 1 x 1 卷积。
        这里照它的做法，用 {K} x {K}。三种做法的参数量（乘以位置数就是乘加次数），以及另外两种是 LKA 的几倍：""",
    ),
    "widths.of_lka": ("LKA\nd = {d}", "LKA\nd = {d}"),
    "widths.dense_ratio": ("dense\n/ LKA", "普通卷积\n/ LKA"),
    "widths.mobilenet_ratio": ("MobileNet\n/ LKA", "MobileNet\n/ LKA"),
    "widths.shares": (
        "At C = {narrow} the 1 x 1 has {narrow_share} % of LKA's weights, at C = {wide} it has {wide_share} %.",
        "C = {narrow} 时，1 x 1 卷积占 LKA 权重的 {narrow_share}%；C = {wide} 时，占 {wide_share}%。",
    ),
    "widths.surprise": (
        """What may surprise: the large kernel soon is the small part of the bill. {shares} Looking far is nearly free;
        mixing channels is what costs.""",
        "也许出人意料：大核很快就成了账单上的小头。{shares}看得远几乎不花钱，花钱的是混合通道。",
    ),
    "widths.far_is_dear": (
        """{shares} With these two kernels looking far stays the larger part of the bill; for {paper} it soon is the
        smaller one.""",
        "{shares}对这两个卷积核来说，看得远始终是账单上的大头；而对 {paper}，它很快就成了小头。",
    ),
    "widths.papers_own": (
        "For {paper} these are the paper's own numbers, to the digit.",
        "对 {paper}，这些数与论文中的完全一致，一位不差。",
    ),
    "paper.pair": ("K = {K} and d = {d}", "K = {K}、d = {d}"),
}
