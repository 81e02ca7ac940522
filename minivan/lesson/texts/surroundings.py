"""The chapter on what one attention value is made of."""

TEXTS = {
    "surroundings.split": (
        """The three steps only add and weigh: nothing in them bends a number. So the attention value of row {row}, column
        {column} can be taken apart without a remainder into what each position of the map adds to it, all its
        {channels} channels together, and what the biases would give if the map were zero everywhere:""",
        """这三步只有加权与求和，没有任何非线性。所以，第 {row} 行第 {column} 列的注意力值可以毫无剩余地拆成两部分：
        特征图上每个位置对它的贡献（{channels} 个通道合计），以及特征图处处为零时由偏置给出的值：""",
    ),
    "surroundings.adds": ("adds", "贡献"),
    "surroundings.biases": ("the biases", "偏置"),
    "surroundings.own": ("its own position", "自身的位置"),
    "surroundings.else": ("everything else", "其余的一切"),
    "surroundings.together": ("together: the attention", "合计：注意力"),
    "surroundings.agree": (
        "Its own position says {yes}, and its surroundings say so too.",
        "自身的位置投{yes}票，周围也一样。",
    ),
    "surroundings.overrule": (
        "Its own position says {yes}, and its surroundings overrule it: {no}.",
        "自身的位置投{yes}票，却被周围否决，结果是{no}。",
    ),
    "surroundings.prevail_not": (
        "Its own position says {yes}; its surroundings say {no}, and do not prevail.",
        "自身的位置投{yes}票；周围投{no}票，但没有占上风。",
    ),
    "surroundings.yes": ("yes", "赞成"),
    "surroundings.no": ("no", "反对"),
    "surroundings.pictures": (
        """Where that comes from: the photo again, and beside it what each position
        adds, in the signs of the picture above, the largest being their measure; @@ is the position itself.""",
        """这些贡献从哪里来：左边还是那张照片，右边是每个位置的贡献，符号的含义同上一章的图，以最大的贡献为尺度；
        @@ 是这个位置自身。""",
    ),
    "surroundings.by_distance": (
        """By distance: 0 is the position itself, 1 the eight around it, 2 the sixteen around those, each ring larger than the
        one before. In the middle what a whole ring adds to this value; on the right how much a ring adds to any value of
        this block on this photo, whatever its sign, on average:""",
        """再按距离来看：0 是这个位置自身，1 是紧挨着的八个，2 是再外面的十六个，一圈比一圈大。
        中间一列是整圈合起来对这个值的贡献；右边一列是整圈对这张照片上本块的所有注意力值的贡献，取绝对值的平均：""",
    ),
    "surroundings.distance": ("distance", "距离"),
    "surroundings.this_value": ("this value", "这个值"),
    "surroundings.average": ("average", "平均"),
    "surroundings.overruled": (
        """Of all attention values of this block, {share} % are overruled: their own position adds a
        number of one sign, and with the surroundings, the biases left out, it is of the other. A kernel of 1 x 1 could not
        have done that: the own position is one vote among many.""",
        """在本块的所有注意力值中，有 {share}% 被周围否决：不计偏置，自身位置的贡献是一种符号，加上周围的贡献就变成另一种符号。
        1 x 1 的卷积核做不到这一点：在这里，自身的位置只是众多票中的一票。""",
    ),
}
