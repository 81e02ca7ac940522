"""What stands around the chapters, and their headings and questions."""

TEXTS = {
    "lists.between": (", ", "、"),
    "lists.and": ("{others} and {last}", "{others} 和 {last}"),
    "opening.title": ("Large kernel attention, K = {K}, d = {d}", "大核注意力，K = {K}，d = {d}"),
    "opening.advice": (
        """Every number below was computed a moment ago on this machine. No earlier knowledge is needed: a word in
        *stars* is explained where it stands. Each chapter begins with a question: answer it before you read on. Once you
        know what the words mean, change K, d, C and the size with -K, -d, -C and --size, and read it again; --chapter tells
        one chapter alone.""",
        """下面的每个数字都是刚刚在这台机器上算出来的。读者不需要任何预备知识：用 *星号* 标出的词，会在出现的地方解释。
        每一章都以一个问题开头，请先自己回答，再往下读。弄懂这些词之后，可以用 -K、-d、-C 和 --size 改变 K、d、C
        和尺寸，再读一遍；--chapter 只讲其中一章。""",
    ),
    "heading.never": ("(No option changes this chapter: {why}.)", "（任何选项都不改变本章：{why}。）"),
    "heading.with": ("(This changes with {options}.)", "（本章随 {options} 变化。）"),
    "heading.with_why": ("(This changes with {options}; {why}.)", "（本章随 {options} 变化；{why}。）"),
    "pause": ("[Enter: read on; q: enough]", "[回车：继续；q：结束]"),
    "plotted": ("The pictures are in {path}.", "图已写入 {path}。"),
    "words.title": ("The words", "先认识几个词"),
    "words.question": (
        "A network looks at a photo: how many numbers has it in hand at a time?",
        "网络看一张照片时，手里同时有多少个数？",
    ),
    "words.why": ("-K and -d come later", "-K 和 -d 后面才用到"),
    "neighbours.title": ("Why attention needs many neighbours", "注意力为什么要看得远"),
    "neighbours.question": (
        "How many layers of 3 x 3 before the middle of the map hears of its edges?",
        "用 3 x 3 的卷积，要叠多少层，特征图正中的数才会受到边缘的影响？",
    ),
    "neighbours.why": ("only the width in the kernel's name matters here", "这里只与卷积核名义上的边长有关"),
    "prices.title": ("What looking far costs", "看得远要付出多少代价"),
    "prices.question": (
        "The map gets twice as wide and high: how many times the work, for each?",
        "特征图的宽和高都加倍，各种做法的计算量分别变成几倍？",
    ),
    "three_steps.title": ("Three cheap steps instead of one dear one", "用三个便宜的步骤代替一个昂贵的"),
    "three_steps.question": (
        "Which positions could be left out, and still nothing be missed?",
        "哪些位置可以跳过不读，却什么也不会漏掉？",
    ),
    "three_steps.why": (
        "weights are the same at every position, however many there are",
        "权重在每个位置上都相同，与位置的多少无关",
    ),
    "widths.title": ("The bill for other widths", "换成别的通道数，账单如何"),
    "widths.question": (
        "With many channels, what costs more: looking far, or mixing channels?",
        "通道很多时，看得远和混合通道，哪一个更贵？",
    ),
    "widths.why": (
        "the paper's five widths are listed, and positions multiply all alike",
        "表中列的是论文的五种通道数，位置的多少对各种做法影响相同",
    ),
    "best_d.title": ("Which d is best", "哪个 d 最好"),
    "best_d.question": (
        "A small d or a large one: which kernel grows with which?",
        "d 取小或取大，变大的分别是哪个卷积核？",
    ),
    "best_d.why": ("channels and positions multiply every row alike", "通道和位置的多少对每一行影响相同"),
    "square.title": ("How far it really sees", "它究竟能看多远"),
    "square.question": (
        "How many positions wide is the square that one number depends on?",
        "一个输出取决于一块正方形区域，它的边长是多少个位置？",
    ),
    "square.why": (
        "every channel reads the same square, on a map of any size",
        "无论特征图多大，每个通道读的都是同样的正方形",
    ),
    "border.title": ("The same thing in one step", "合成一步，还一样吗"),
    "border.question": (
        "Can one kernel of that size replace steps 1 and 2, everywhere?",
        "能不能用一个同样大小的卷积核，处处代替第 1 步和第 2 步？",
    ),
    "border.why": ("one channel shows what all do", "看一个通道就知道所有通道"),
    "gate.title": ("The gate: multiply", "门控：相乘"),
    "gate.question": ("Twice the input: how many times the output?", "输入加倍，输出变成几倍？"),
    "gate.why": ("six positions are few enough to check by hand", "六个位置足够少，可以用笔验算"),
    "photo.title": ("The same on a photo", "换成一张真实的照片"),
    "photo.question": ("Are attention values numbers from 0 to 1?", "注意力值是 0 到 1 之间的数吗？"),
    "photo.why": ("trained weights have their own K, d and C", "训练好的权重有自己的 K、d 和 C"),
    "surroundings.title": ("Its own place, and everything else", "自身的位置，与其余的一切"),
    "surroundings.question": (
        "Who decides how much a place matters: the place, or its surroundings?",
        "一个位置有多重要，由谁决定：它自己，还是周围？",
    ),
    "which.title": ("Where, or which?", "看位置，还是看通道？"),
    "which.question": (
        "What does attention say more about: where it is, or which channel it is?",
        "注意力说得更多的是什么：哪个位置，还是哪个通道？",
    ),
    "which.why": ("trained weights have their own K, d and C", "训练好的权重有自己的 K、d 和 C"),
    "surroundings.why": ("trained weights have their own K, d and C", "训练好的权重有自己的 K、d 和 C"),
}
