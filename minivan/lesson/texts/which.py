"""The chapter on what attention says more of, where or which channel."""

TEXTS = {
    "which.three_ways": (
        """There are three ways to give attention out. *SENet*, a network of 2017, weighs channels: C numbers, each for a whole
        map, so that it says which. Self-attention weighs positions: for each position H x W numbers, each for all channels
        of another one, so that it says where. LKA has a number for every channel at every position, C x H x W, and can say
        both. On the first block's map these are {C}, {H} x {W} = {places} and {C} x {H} x {W} = {all} numbers.""",
        """注意力有三种分配方式。2017 年的网络 *SENet* 给通道加权：共 C 个数，每个数管一整张图，说的是哪个通道。
        自注意力给位置加权：每个位置有 H x W 个数，每个数管另一个位置的全部通道，说的是哪个位置。
        LKA 对每个位置的每个通道都有一个数，共 C x H x W 个，两样都能说。在第一个块的特征图上，三者分别是
        {C}、{H} x {W} = {places} 和 {C} x {H} x {W} = {all} 个数。""",
    ),
    "which.variance": (
        """What do trained weights make of that freedom? The *variance* of a block's attention values, the mean of their squared
        distances from their mean, is the sum of two, without a remainder: how far apart the channels lie, each taken as its
        mean over the map (which), and how far the positions of a channel lie from that mean (where). The share of the first,
        on this photo:""",
        """训练好的权重是怎样利用这份自由的？一个块的注意力值的 *方差*（variance），即各值与均值之差的平方的平均，
        恰好是两部分之和：各通道取全图均值后，通道与通道之间的差异（通道）；以及同一通道内各位置与该均值的差异（位置）。
        在这张照片上，前一部分所占的比例是：""",
    ),
    "which.block": ("block", "块"),
    "which.attention": ("attention", "注意力"),
    "which.which": ("which", "通道"),
    "which.share": ("{share} %", "{share}%"),
    "which.stages": ("Stage by stage it is {shares} %.", "按阶段看，依次是百分之 {shares}。"),
    "which.everywhere_which": (
        "In every stage attention says more about which channel it is than about where.",
        "在每个阶段，注意力说得更多的都是哪个通道，而不是哪个位置。",
    ),
    "which.everywhere_where": (
        "In every stage attention says more about where than about which channel it is.",
        "在每个阶段，注意力说得更多的都是哪个位置，而不是哪个通道。",
    ),
    "which.divided": (
        "So attention says more about which channel it is in {which}, and more about where in {where}.",
        "可见注意力在{which}上说得更多的是哪个通道，在{where}上说得更多的是哪个位置。",
    ),
    "which.stage": ("stage {stages}", "阶段 {stages} "),
    "which.many_stages": ("stages {stages}", "阶段 {stages} "),
    "which.chosen": (
        """The map of chapter 10 is one channel of {C}, chosen for lifting much and turning much over; {others}
        more from position to position. Do not take it for all.""",
        """第 10 章的图只是 {C} 个通道中的一个，因为它既大幅放大、又大幅反号而被选中；{others}。不要以偏概全。""",
    ),
    "which.no_other": ("no other varies", "没有哪个通道在各位置之间的变化比它更大"),
    "which.others_vary": (
        "{count} {count:other varies|others vary}",
        "还有 {count} 个通道在各位置之间的变化比它更大",
    ),
    "which.without": (
        """What varies little may still decide. So leave one of the two out, in every block: in the place of each map its mean,
        which leaves only which; or in the place of all channels the mean of them, which leaves only where. The answer,
        {label} at {probability}, {only_which} with the first, and {only_where} with the second.""",
        """变化小的，也可能起决定作用。所以在每个块里去掉其中一种：把每张注意力图换成它的均值，就只剩下通道之分；
        把所有通道换成它们的平均，就只剩下位置之分。网络原来的回答是 {label}，概率为 {probability}；
        前一种改动后，回答{only_which}；后一种改动后，回答{only_where}。""",
    ),
    "which.stays": ("stays, at {probability},", "不变，概率为 {probability}"),
    "which.becomes": ("becomes {label} at {probability}", "变成 {label}，概率为 {probability}"),
    "which.measured": (
        """Over many photos: of {images} labelled ones these weights get {trained} % right;
        without where, each map its mean, {which} %. One map for all channels leaves {where} %: it has
        lost, too, that channels differ in any photo. To take from a photo no more than its say in which channels, each map
        keeps its shape and gets the mean that it has in other photos: {fixed_levels} %. With one number for each
        channel, the same in all photos, it is {fixed_numbers} %.""",
        """再看许多照片：在 {images} 张带标签的照片上，这套权重的正确率是 {trained}%；去掉位置之分，即每张图取其均值，
        是 {which}%。所有通道共用一张图，只剩 {where}%：这样连通道之间本来的不同也一并失去了。若只想去掉由照片来选通道这一点，
        就让每张图保持形状，而把均值换成它在其他照片上的均值：{fixed_levels}%。每个通道用一个数，所有照片都一样，
        则是 {fixed_numbers}%。""",
    ),
    "which.owed": (
        """So these answers owe more to a photo's say in {more}, worth {more_points} points, than to its say in {less}, worth
        {less_points}.""",
        "可见，这些回答更多地得益于由照片来选{more}，值 {more_points} 个百分点，而不是由它来选{less}，值 {less_points} 个。",
    ),
    "which.say_which": ("which channels", "通道"),
    "which.say_where": ("where", "位置"),
}
