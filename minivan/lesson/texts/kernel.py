"""The chapters on the three steps."""

TEXTS = {
    "three_steps.pictures": (
        """The pictures show which positions one step reads ('#') to make the one number at '@'. The dots are not
        read.""",
        """下面的图画出每一步为了得到 '@' 处的一个数，要读哪些位置（'#'）；点表示不读。""",
    ),
    "three_steps.not_itself": (
        "Where that step does not read the place itself, it is an 'o'.",
        "如果该步不读输出自身的位置，就画成 'o'。",
    ),
    "three_steps.too_wide": (
        "(The pictures of steps 1 and 2 would be {S} columns wide: too wide for a page of {page}.)",
        "（第 1 步和第 2 步的图有 {S} 列宽，{page} 列的页面放不下。）",
    ),
    "three_steps.near": (
        """STEP 1: NEAR. A {k} x {k} kernel, {taps} {taps:weight|weights}. It is *depthwise*: each channel is worked on
        by itself, with weights of its own. {C} {C:channel|channels}: {weights} {weights:weight|weights}.""",
        """第 1 步：近程。{k} x {k} 的卷积核，{taps} 个权重。这是 *深度卷积*（depthwise convolution）：
        各通道独立计算，各用各的权重。{C} 个通道共 {weights} 个权重。""",
    ),
    "three_steps.far": (
        """STEP 2: FAR. A {s} x {s} kernel, {taps} {taps:weight|weights}, depthwise too, but *dilated* by
        d = {d}{spread}. It reads the map that step 1 made, where every number already sums up a {k} x {k} square, so
        nothing in between is lost. {C} {C:channel|channels}: {weights} {weights:weight|weights}.""",
        """第 2 步：远程。{s} x {s} 的卷积核，{taps} 个权重，也是深度卷积，不过是 *膨胀卷积*（dilated convolution），
        膨胀率 d = {d}{spread}。它读的是第 1 步得到的特征图，那里的每个数已经汇总了一块 {k} x {k} 的区域，
        所以跳过的位置并没有丢失。{C} 个通道共 {weights} 个权重。""",
    ),
    "three_steps.apart": (
        ": its weights are set {d} apart, between two of them {skipped} {skipped:position is|positions are} skipped",
        "：权重之间的间隔为 {d}，每两个之间跳过 {skipped} 个位置",
    ),
    "three_steps.side_by_side": (", so that its weights stand side by side", "，也就是权重一个挨着一个"),
    "three_steps.single": (
        ": it could set its weights {d} apart, but with d = K it has only one",
        "：权重之间的间隔本可为 {d}，但 d = K 时它只有一个权重",
    ),
    "three_steps.channel": ("channel {number}", "通道 {number}"),
    "three_steps.new": ("new", "新通道"),
    "three_steps.mix": (
        """STEP 3: MIX. A 1 x 1 kernel, or *pointwise*: it stays at its position and reads {channels} there, with
        {C} {C:weight|weights} for each of the {C} new ones: {weights} {weights:weight|weights}.""",
        """第 3 步：混合。1 x 1 的卷积核，即 *逐点卷积*（pointwise convolution）：它只看所在的位置，读取那里{channels}，
        对 {C} 个新通道各用 {C} 个权重，共 {weights} 个权重。""",
    ),
    "three_steps.together": (
        """Together {near} + {far} + {mix} = {total} weights, where the dense kernel has {dense}. Nothing is free: steps 1
        to 3 can only form kernels that split this way, not every kernel. The bet of the paper is that those are enough.""",
        """三步合计 {near} + {far} + {mix} = {total} 个权重，而普通卷积有 {dense} 个。天下没有免费的午餐：第 1 步到第 3 步
        只能构成可以这样分解的卷积核，而不是任意的卷积核。论文赌的就是：这样的卷积核已经够用。""",
    ),
    "best_d.rule": (
        """The far kernel must span K in steps of d, so it is K/d wide, rounded up. The near one must leave no gap between
        two weights of the far one: any width from d on does that. The paper takes 2d - 1, with which neighbouring squares
        overlap. That makes (K/d)^2 + (2d - 1)^2 weights per channel: a small d makes the far kernel large, a large d the
        near one. For K = {K}, each row one choice of d; the last column has the weights if the near kernel were d wide:""",
        """远程卷积核要以 d 为间隔覆盖 K，所以边长是 K/d，向上取整。近程卷积核在远程卷积核的两个权重之间不能留下空隙：
        边长只要不小于 d 就可以。论文取 2d - 1，这时相邻的区域互相重叠。于是每个通道有 (K/d)^2 + (2d - 1)^2 个权重：
        d 小则远程卷积核大，d 大则近程卷积核大。下表是 K = {K} 的情形，每行是 d 的一种取法；
        最后一列是假如近程卷积核边长为 d 时的权重数：""",
    ),
    "best_d.far": ("far", "远程"),
    "best_d.near": ("near", "近程"),
    "best_d.weights": ("weights", "权重数"),
    "best_d.near_d": ("near\nd wide", "近程\n边长 d"),
    "best_d.fewest": ("<- fewest", "<- 最少"),
    "best_d.slope": (
        """One can also find it without trying. Forget the rounding and let d be any number, so that the cost is a smooth
        curve. At its lowest point the curve is level: its *derivative*, the slope, is zero. The slope of
        (K/d)^2 + (2d - 1)^2 is -2 K^2 / d^3 + 4 (2d - 1). Set to zero, and multiplied by d^3 / 2, this reads""",
        """也可以不逐个尝试，直接求出最优的 d。不取整，让 d 取任意实数，权重数就成了一条光滑的曲线。在最低点处曲线是平的：
        它的 *导数*（derivative），也就是斜率，等于零。(K/d)^2 + (2d - 1)^2 的斜率是
        -2 K^2 / d^3 + 4 (2d - 1)。令它等于零，再乘以 d^3 / 2，得到""",
    ),
    "best_d.holds": (
        """and it holds at d = {smooth}, for 4 x {smooth}^4 - 2 x {smooth}^3 = {fourth} - {third} = {result}. A quarter
        below that the slope is {below}, downhill; a quarter above it is {above}, uphill. The whole number with the fewest
        weights is d = {best}{also}{asked}.""",
        """它在 d = {smooth} 处成立，因为 4 x {smooth}^4 - 2 x {smooth}^3 = {fourth} - {third} = {result}。
        d 减去四分之一，斜率是 {below}，曲线在下降；d 加上四分之一，斜率是 {above}，曲线在上升。
        权重最少的整数是 d = {best}{also}{asked}。""",
    ),
    "best_d.also": (" (as few: d = {others})", "（同样少的还有 d = {others}）"),
    "best_d.asked": (
        ", where this lesson was asked for d = {d}",
        "，而这次运行指定的是 d = {d}",
    ),
    "best_d.rests": (
        """What does that d rest on? Were the near kernel d wide, its squares would lie side by side: each position would
        have exactly one way to '@', and the smooth cost, (K/d)^2 + d^2, would be lowest at the square root of K,
        d = {root}. The fewest weights in the last column are those of d = {tiled}{also} with {weights} weights, reading
        {across} {across:position|positions} across.""",
        """这个 d 是怎么来的？假如近程卷积核的边长是 d，那些区域就会恰好铺满而不重叠：每个位置到 '@' 只有一条路径，
        不取整的权重数 (K/d)^2 + d^2 在 d 等于 K 的平方根，即 d = {root} 时最小。最后一列中权重最少的是 d = {tiled}{also}，
        有 {weights} 个权重，读取的宽度是 {across} 个位置。""",
    ),
    "best_d.both": (
        "Both rules choose d = {best} for this K; the overlap alone costs the difference of the columns.",
        "对这个 K，两种规则选出的都是 d = {best}；两列之差全是重叠的代价。",
    ),
    "best_d.papers_choice": (
        """So d = {best} rests on the paper's choice of 2d - 1, which is no necessity. Whether the overlap is
        worth {weights} weights where {tiled} would do, arithmetic cannot say: only training both ways could.""",
        """可见 d = {best} 来自论文取 2d - 1 这一选择，并非必然。本来 {tiled} 个权重就够，为了重叠而用 {weights} 个是否值得，
        算术回答不了：只有两种方式都训练一遍才知道。""",
    ),
    "square.row": (
        "How far does '@' see through both steps? Step 2's {s} weights in a row are {d} apart:",
        "经过这两步，'@' 能看多远？第 2 步每行有 {s} 个权重，间隔为 {d}：",
    ),
    "square.row_of_one": (
        "How far does '@' see through both steps? Step 2 has one weight:",
        "经过这两步，'@' 能看多远？第 2 步只有一个权重：",
    ),
    "square.derived": (
        """from the first to the last it is {d} x {gaps} = {span} {span:position|positions}. At each end stands a number of
        step 1, which sees {further} further. So {span} + 1 + 2 x {further} = {S}: an output reads {S} x {S} = {pixels}
        {pixels:position|positions}.""",
        """从第一个到最后一个相距 {d} x {gaps} = {span} 个位置。两端各是第 1 步的一个数，它还能向外多看 {further} 个位置。
        所以 {span} + 1 + 2 x {further} = {S}：一个输出读取 {S} x {S} = {pixels} 个位置。""",
    ),
    "square.truth": (
        "The name says {K} x {K}, which would be {named}; the truth is {S} x {S}.",
        "名义上是 {K} x {K}，即 {named} 个位置；实际是 {S} x {S}。",
    ),
    "square.as_named": (
        "With d = 1 that is what the name says; with any other d it is more.",
        "d = 1 时与名义大小一致；d 取其他值时，实际范围更大。",
    ),
    "square.ways": (
        """Each digit counts the ways from that position to '@', which stands in the middle{middle}: the number of step 2's
        weights whose {k} x {k} square covers it.""",
        """图中每个数字是从该位置到 '@' 的路径数（'@' 在正中{middle}），也就是第 2 步有多少个权重的 {k} x {k}
        区域覆盖了该位置。""",
    ),
    "square.even": (", as far as an even width has one", "，边长为偶数时取近似的正中"),
    "square.by": ("{pixels} by {paths} {paths:way|ways}", "{pixels} 个有 {paths} 条路径"),
    "square.no_gap": (
        "No position is missed, since squares {k} wide set {d} apart leave no gap.",
        "没有漏掉任何位置，因为边长为 {k} 的区域以 {d} 为间隔排列，不会留下空隙。",
    ),
    "square.no_gap_of_one": (
        "No position is missed, since step 1 has no gap.",
        "没有漏掉任何位置，因为第 1 步本来就没有空隙。",
    ),
    "square.reached": (
        """Reached: {spread}; together {far} x {near} = {paths} {paths:way|ways}. The two kernels work as one {S} x {S}
        kernel with {pixels} {pixels:weight|weights} that {numbers} numbers decide.""",
        """各位置中，{spread}；总共 {far} x {near} = {paths} 条路径。这两个卷积核合起来相当于一个 {S} x {S} 的卷积核，
        它的 {pixels} 个权重由 {numbers} 个数决定。""",
    ),
    "square.reached_by_fewer": (
        """Reached: {spread}; together {far} x {near} = {paths} {paths:way|ways}. The two kernels work as one {S} x {S}
        kernel with {pixels} {pixels:weight|weights} that only {numbers} numbers decide.""",
        """各位置中，{spread}；总共 {far} x {near} = {paths} 条路径。这两个卷积核合起来相当于一个 {S} x {S} 的卷积核，
        它的 {pixels} 个权重只由 {numbers} 个数决定。""",
    ),
    "border.tried": (
        """That one {S} x {S} kernel can be written out (`minivan.lka.equivalent_kernel`): every weight of step 2 stamps a
        copy of step 1's kernel, scaled, and overlapping copies add up. Is it really the same? Tried just now, on a
        {side} x {side} map of random whole numbers, where no rounding can blur the answer: of {outputs}
        {outputs:output|outputs} {equal} {equal:is|are} equal to the last digit and {differ} {differ:differs|differ}.""",
        """这个 {S} x {S} 的卷积核可以具体写出来（`minivan.lka.equivalent_kernel`）：第 2 步的每个权重都盖下一份
        按比例缩放的第 1 步卷积核，重叠的部分相加。真的一样吗？刚刚在一张 {side} x {side} 的随机整数特征图上试过，
        用整数就不会有舍入误差来干扰：{outputs} 个输出中，{equal} 个一位不差，{differ} 个不同。""",
    ),
    "border.near_the_edge": (
        "The {differ} near the edge differ, and the reason is the padding.",
        "不同的 {differ} 个都靠近边缘，原因在于填充。",
    ),
    "border.edge_everywhere": (
        "On so small a map the edge is near everywhere; the reason is the padding.",
        "在这么小的特征图上，处处都靠近边缘；原因在于填充。",
    ),
    "border.cause": (
        """Two steps pad twice: step 2 finds zeros all around step 1's map. But just outside, within {skipped}
        {skipped:position|positions} of the edge, step 1's square would still overlap the map and give a number; the one big
        kernel counts it, the two steps do not. Computed from that cause, exactly {foreseen} {foreseen:position|positions}
        should differ, and {outside} outside does. Down the middle of the map the rows that differ are, counted from 0 at the
        top, {rows}{stripes}.""",
        """两个步骤要填充两次：第 2 步看到的是，第 1 步的特征图四周全是零。但就在边缘之外 {skipped} 个位置以内，
        第 1 步的区域仍与特征图有重叠，本可以算出一个数；合成的大核把它计入，分成两步则没有。按这个原因推算，
        应该恰好有 {foreseen} 个位置不同，在此之外不同的{outside}。沿特征图正中的一列往下看，不同的行
        （从上往下，由 0 数起）是 {rows}{stripes}。""",
    ),
    "border.none": ("not one", "一个也没有"),
    "border.some": ("{count}", "有 {count} 个"),
    "border.range": ("0 to {last}", "0 到 {last}"),
    "border.stripes": (
        ": stripes, because weights set apart step over the edge in some rows and land on it in others",
        "：呈条纹状，因为权重之间有间隔，有些行上会跨过边缘，有些行上则落在边缘上",
    ),
}
