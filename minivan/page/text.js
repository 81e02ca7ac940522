// Every text of the page, in English and in Chinese, in one table.

import { state } from "./state.js";

const TEXTS = {
  // head and hook
  title: ["Large kernel attention, taken apart", "大核注意力，拆开来看"],
  lead: [
    "A network looks at a photo. At every place it multiplies what it has found by a number, its attention, and that number is a sum. Here is the sum.",
    "网络在看一张照片。在每个位置，它都把找到的东西乘以一个数，也就是注意力，而这个数是一个和。这就是那个和。",
  ],
  sentence: [
    "This place alone says {place}. Its neighbourhood says {neighbours}. A constant says {constant}. So it is multiplied by {attention}.",
    "这个位置自己说 {place}，它的邻域说 {neighbours}，一个常数说 {constant}。于是它被乘以 {attention}。",
  ],
  verdict: ["A factor of {factor}: the gate {verdict}.", "乘数为 {factor}：门{verdict}。"],
  turns: ["turns it over", "把它翻转"],
  turns_amplifies: ["turns it over and amplifies it", "把它翻转并放大"],
  dims: ["dims it", "把它减弱"],
  amplifies: ["amplifies it", "把它放大"],
  this_place: ["this place", "这个位置"],
  neighbourhood: ["neighbourhood", "邻域"],
  constant: ["constant", "常数"],
  attention: ["attention", "注意力"],
  hook_where: ["{block}, channel {channel}, row {row}, column {column}", "{block}，通道 {channel}，第 {row} 行第 {column} 列"],
  hook_map: [
    "The photo, and over it who decides about the place under the cursor. Arrow keys move the cursor.",
    "照片；叠加在上面的是谁决定了光标处的值。用方向键移动光标。",
  ],
  hook_hint: [
    "Point at the photo. Orange places raise the factor, blue ones lower it; the dashed frame is all that can have a say: {reads} × {reads} places, of which {on} are on the map.",
    "将指针移到照片上。橙色位置使乘数变大，蓝色位置使乘数变小；虚线框是能影响它的全部范围：{reads} × {reads} 个位置，其中 {on} 个在图上。",
  ],
  still: ["Stop the pointer", "让指针停下"],
  answer_title: ["What the network says", "网络的回答"],
  not_sure: [
    "It is not sure: below this probability most of its answers are wrong.",
    "它没有把握：低于这个概率时，它的回答大多是错的。",
  ],
  works_coffee: ["A cup seen from above, as in training: this works.", "从上方看的杯子，和训练时一样：能认出来。"],
  works_cat: [
    "A cat's face fills the photo: this works, if not with great certainty.",
    "猫脸占满照片：能认出来，但不是很有把握。",
  ],
  fails_rocket: [
    "This fails: a rocket is none of the 200 classes. The network has to choose one, and is sure of it all the same.",
    "这张会失败：火箭不在 200 个类别之中。网络必须选一个，而且还很有把握。",
  ],
  fails_astronaut: [
    "This fails: an astronaut is none of the 200 classes. The network says so by giving no class much.",
    "这张会失败：宇航员不在 200 个类别之中。网络没有给任何类别很高的概率。",
  ],
  dropped: ["Your photo. It has not left this computer.", "你的照片。它没有离开这台电脑。"],
  gallery_title: ["Photos", "照片"],
  choose: ["Choose or drop a photo", "选择或拖入照片"],
  reading: ["Reading {name} ...", "正在读取 {name} ……"],
  no_image: [
    "{name} is no image that this browser can read: choose a JPEG, PNG or WebP file.",
    "浏览器无法读取 {name}：请选择 JPEG、PNG 或 WebP 文件。",
  ],
  too_large: [
    "{name} is too large: choose an image of at most 50 megapixels and 64 MB.",
    "{name} 太大：请选择不超过 5000 万像素、64 MB 的图片。",
  ],
  too_narrow: [
    "{name} is too narrow: choose an image that is at most 100 times as long as wide.",
    "{name} 太窄：长宽比不能超过 100。",
  ],
  worker_failed: [
    "The network cannot compute in this browser ({message}): update it, or try Chromium or Firefox.",
    "网络无法在此浏览器中计算（{message}）：请更新浏览器，或改用 Chromium 或 Firefox。",
  ],
  // path
  path_label: ["Where you are", "当前位置"],
  channel: ["channel {channel}", "通道 {channel}"],
  place: ["row {row}, column {column}", "第 {row} 行第 {column} 列"],
  short_place: ["{row}, {column}", "{row}, {column}"],
  channel_back: ["previous channel", "上一个通道"],
  channel_on: ["next channel", "下一个通道"],
  block_label: ["block", "块"],
  // overview
  overview_title: ["The network: four stages, smaller and smaller maps", "网络：四个阶段，图越来越小"],
  overview_lead: [
    "Every pixel of the photo and every position of a map is drawn equally large. Each stage has more channels than the last, and each channel fewer places.",
    "照片的每个像素和图的每个位置画得一样大。每个阶段的通道比上一个多，每个通道的位置比上一个少。",
  ],
  the_photo: ["the photo as the network sees it", "网络看到的照片"],
  photo_size: ["{side} × {side} pixels", "{side} × {side} 像素"],
  stage: ["Stage {stage}", "阶段 {stage}"],
  stage_size: ["{channels} × {h} × {w}", "{channels} × {h} × {w}"],
  stage_maps: [
    "all {channels} channels of stage {stage}, {h} x {w} positions each",
    "阶段 {stage} 的全部 {channels} 个通道，每个 {h} × {w}",
  ],
  chips_hint: ["Open a block:", "打开一个块："],
  // strip
  strip_title: ["One block, layer by layer", "一个块，逐层来看"],
  strip_lead: [
    "From left to right, the chosen channel after each layer. The inner arc is the gate: u is multiplied by what LKA makes of it. The outer arcs are residuals: what came in is added again.",
    "从左到右是所选通道在每一层之后的样子。内侧的弧是门：u 乘以 LKA 由它算出的值。外侧的弧是残差：输入又被加了回来。",
  ],
  group_attention: ["attention", "注意力模块"],
  group_lka: ["large kernel attention", "大核注意力 LKA"],
  group_mlp: ["MLP", "MLP"],
  attention_short: ["att.", "注意力"],
  // chain
  chain_title: ["Three steps and a gate", "三步和一道门"],
  chain_lead: [
    "Point at any map, or use the arrow keys; a click holds the cursor. All five maps show the same channel and the same place.",
    "指向任意一张图，或用方向键；点击可以固定光标。五张图显示同一个通道、同一个位置。",
  ],
  step_u: ["u", "u"],
  step_near: ["near", "近"],
  step_far: ["far", "远"],
  step_attention: ["attention", "注意力"],
  step_gated: ["u × attention", "u × 注意力"],
  does_u: ["what arrives", "输入"],
  does_near: ["5 × 5 around each place", "每个位置周围的 5 × 5"],
  does_far: ["7 × 7 places of near, 3 apart", "“近”图上相隔 3 的 7 × 7 个位置"],
  does_attention: ["1 × 1: the channels mix", "1 × 1：各通道混合"],
  does_gated: ["the gate", "门"],
  u_said: [
    "What proj_1 and GELU have found here. GELU lets next to nothing below zero through: u is never below −0.17.",
    "proj_1 和 GELU 在这里找到的东西。GELU 几乎不让负值通过：u 不会低于 −0.17。",
  ],
  save: ["Save as PNG", "保存为 PNG"],
  same_scale: ["one scale for all five maps", "五张图用同一个色标"],
  near_grid: ["The 5 x 5 window on u: products of weight and value.", "u 上的 5 × 5 窗口：权重乘以值。"],
  far_grid: [
    "The 7 x 7 taps on near: products. Enter opens a tap, Escape closes it.",
    "“近”特征图上的 7 × 7 个采样点：乘积。按回车打开一个，按 Esc 关闭。",
  ],
  tap_on: ["{row}, {column}: {weight} × {value} = {product}", "{row}, {column}：{weight} × {value} = {product}"],
  tap_off: [
    "{row}, {column} is off the map: weight {weight} meets padding, 0",
    "{row}, {column} 在图外：权重 {weight} 遇到填充的 0",
  ],
  far_off: [
    "{on} of {all} taps fall on the map; {off}, hatched, multiply padding. Choose one.",
    "{all} 个采样点中有 {on} 个落在图上；其余 {off} 个（斜线格）乘的是填充的 0。请点选一个。",
  ],
  tap_window: ["How near at {row}, {column} came about", "“近”图在 {row}, {column} 处的值是怎样得到的"],
  others: ["the other {count}", "其余 {count} 项"],
  bias: ["bias", "偏置"],
  rounding: ["rounding", "舍入"],
  gate_verdict: ["The gate {verdict}.", "门{verdict}。"],
  gate_line: ["On a line from −{end} to {end} the attention is {value}.", "在 −{end} 到 {end} 的数轴上，注意力是 {value}。"],
  zone_turns: ["turns over", "翻转"],
  zone_dims: ["dims", "减弱"],
  zone_lifts: ["amplifies", "放大"],
  held: ["The cursor is held. Click it, or press Esc, to let go.", "光标已固定。点击它或按 Esc 释放。"],
  not_held: ["The cursor follows the pointer. Click to hold it.", "光标跟随指针。点击可固定。"],
  who_title: ["Who decided this?", "这是谁决定的？"],
  who_map: [
    "The attention value at the cursor, split over the places of the photo.",
    "光标处的注意力值，分摊到照片的各个位置。",
  ],
  who_said: [
    "{reached} places have a say. Together they say {places}; the biases, whatever the photo, say {constant}; that is the attention, {attention}.",
    "{reached} 个位置有发言权，合计 {places}；偏置与照片无关，是 {constant}；加起来就是注意力 {attention}。",
  ],
  who_largest: ["The loudest of them (row, column):", "其中声音最大的（行, 列）："],
  who_lead: [
    "Up to the gate, nothing in LKA bends: it is all sums of products. So the attention value is a sum over places too, all channels of u counted, and each place's share is exact.",
    "在门之前，LKA 里没有任何非线性：全是乘积之和。所以注意力值也是对各个位置的和（计入 u 的所有通道），每个位置的份额是精确的。",
  ],
  // channels
  channels_title: ["Where, or which?", "在哪里，还是哪一个？"],
  channels_lead: [
    "The attention of every channel of this block, those that differ most from place to place first. A map of one colour weighs its channel and does not care where.",
    "这个块里每个通道的注意力，位置之间差别最大的排在前面。颜色均匀的图只给整个通道加权，不在乎位置。",
  ],
  tile: ["channel {channel}: mean {mean}, spread {spread}", "通道 {channel}：均值 {mean}，离散度 {spread}"],
  all_channels: ["Show all {channels}", "显示全部 {channels} 个"],
  fewer_channels: ["Show fewer", "少显示一些"],
  means: ["Replace every map by its mean, in all blocks", "在所有块里把每张图换成它的均值"],
  computing: ["Computing ...", "计算中……"],
  // what if
  whatif_title: ["What if?", "如果……会怎样？"],
  geometry_title: ["Geometry and cost: no photo, no weights", "几何与代价：不用照片，不用权重"],
  trained_title: ["Trained weights: one thing changed in every block", "训练好的权重：在每个块里改一处"],
  slider_K: ["K, the large kernel's side", "K，大核的边长"],
  slider_d: ["d, dilation", "d，膨胀率"],
  slider_near: ["near kernel", "近核"],
  slider_C: ["C, channels", "C，通道数"],
  slider_side: ["map's side", "图的边长"],
  footprint_whole: [
    "Called {K} × {K}, it reads {reads} × {reads}: {far} × {far} taps, {d} apart, and a {near} × {near} window under each. No gap.",
    "名为 {K} × {K}，实际读取 {reads} × {reads}：{far} × {far} 个抽头，相隔 {d}，每个下面有 {near} × {near} 的窗口。没有空隙。",
  ],
  footprint_gaps: [
    "A gap: {gaps} of the {reads} × {reads} places are read by nobody. {near} × {near} windows do not meet when they are {d} apart.",
    "有空隙：{reads} × {reads} 个位置里有 {gaps} 个没有被读到。相隔 {d} 时，{near} × {near} 的窗口接不上。",
  ],
  footprint_label: ["what one output reads: {reads} x {reads} places", "一个输出读取的范围：{reads} × {reads} 个位置"],
  curve_title: ["Weights per channel, by d", "每通道的权重数，随 d 变化"],
  curve_label: ["weights per channel for each dilation, K = {K}", "每个膨胀率下每通道的权重数，K = {K}"],
  rule_paper: ["near kernel 2d − 1, the paper's", "近核 2d − 1（论文）"],
  rule_least: ["near kernel d, the least without a gap", "近核 d（无空隙的最小值）"],
  cost_title: ["Multiply-adds on a map of {side} × {side}", "{side} × {side} 的图上的乘加次数"],
  cost_lka: ["LKA", "LKA"],
  cost_mobilenet: ["depthwise K × K, 1 × 1", "逐通道 K × K 加 1 × 1"],
  cost_self: ["self-attention", "自注意力"],
  cost_dense: ["dense K × K", "稠密 K × K"],
  cost_note: [
    "Each with a projection before and one after it; self-attention with its four.",
    "前后各有一个投影；自注意力有四个。",
  ],
  change_none: ["as trained", "训练时的样子"],
  change_one: ["attention = 1", "注意力 = 1"],
  change_mean: ["each map its mean", "每张图取均值"],
  change_sigmoid: ["sigmoid(attention)", "sigmoid(注意力)"],
  change_add: ["u + attention", "u + 注意力"],
  change_taps5: ["far: middle 5 × 5", "远：中间 5 × 5"],
  change_taps3: ["far: middle 3 × 3", "远：中间 3 × 3"],
  change_taps1: ["far: middle tap only", "远：只留中间"],
  change_dilation1: ["dilation 1", "膨胀率 1"],
  change_dilation2: ["dilation 2", "膨胀率 2"],
  change_dilation4: ["dilation 4", "膨胀率 4"],
  change_dilation5: ["dilation 5", "膨胀率 5"],
  choose_change: [
    "Choose a change: the network answers again, here, for this photo.",
    "选择一种改动：网络会就这张照片重新回答。",
  ],
  before: ["before", "之前"],
  after: ["after", "之后"],
  after_training: [
    "Changed after training: says what these weights rely on, not what the idea is worth.",
    "训练之后改的：说明这些权重依赖什么，而不是这个想法值多少。",
  ],
  figures: [
    "Of {images} labelled images {before} are right before, {after} after.",
    "{images} 张有标签的图片中，之前 {before} 正确，之后 {after}。",
  ],
  poke_title: ["Poke it", "戳一下"],
  poke_lead: ["Click on the photo to paint it grey, and see how far that reaches.", "点击照片把它涂灰，看看影响传到多远。"],
  poke_label: [
    "The photo as the network sees it. Arrow keys move the brush, Enter paints.",
    "网络看到的照片。方向键移动画笔，回车涂灰。",
  ],
  poke_hint: ["Nothing is painted yet.", "还没有涂。"],
  unpoke: ["Wipe clean", "擦掉"],
  reach_map: ["how much each place of stage {stage} has changed", "阶段 {stage} 各位置的变化"],
  reach_said: ["Stage {stage}: {touched} of {all} places", "阶段 {stage}：{all} 个位置中的 {touched} 个"],
  // class map
  cam_title: ["Which places speak for the answer?", "哪些位置支持这个回答？"],
  cam_lead: [
    "The head applied at each place of the last stage. Its mean, plus a bias, is the class's logit: the map is exact, and needs no derivative.",
    "把分类头用在最后一个阶段的每个位置上。它的均值加上偏置就是该类的 logit：这张图是精确的，不需要求导。",
  ],
  cam_class: ["for", "支持"],
  cam_rival: ["minus", "减去"],
  no_rival: ["nothing", "无"],
  likely: ["likeliest", "最可能的"],
  all_classes: ["all classes", "全部类别"],
  cam_map: ["The class map over the photo. Arrow keys choose a place.", "叠加在照片上的类激活图。用方向键选择位置。"],
  cam_said: [
    "{name}: the places say {mean} on average, the bias {bias}; together the logit, {logit}.",
    "{name}：各位置平均 {mean}，偏置 {bias}；合起来是 logit {logit}。",
  ],
  cam_hint: ["Point at the photo: what one place says.", "将指针移到照片上，查看单个位置的贡献。"],
  cam_place: ["Row {row}, column {column} of the last stage says {value}.", "最后一个阶段第 {row} 行第 {column} 列贡献 {value}。"],
  // guided path
  guide_label: ["Eight steps", "八个步骤"],
  guide_count: ["Step {step} of {steps}", "第 {step} 步，共 {steps} 步"],
  guide_close: ["close", "关闭"],
  guide_next: ["Next", "下一步"],
  guide_done: ["Done", "完成"],
  guide_right: ["Yes.", "对。"],
  guide_wrong: ["No.", "不对。"],
  guide_sum: ["A sum", "一个和"],
  guide_sum_text: [
    "Point at places of the photo. The sentence always has the same form: what the place says, what its neighbours say, a constant. Find a place that is turned over, and one that is amplified.",
    "指向照片上的各个位置。句子的形式总是一样：这个位置说的、邻居说的、一个常数。找一个被翻转的位置，再找一个被放大的。",
  ],
  guide_shrink: ["Smaller maps", "越来越小的图"],
  guide_shrink_text: [
    "The kernels are the same in every block: an output reads 23 × 23 places. On how many of the four stages is that more than the whole map?",
    "每个块里的核都一样：一个输出读取 23 × 23 个位置。在四个阶段中，有几个阶段的整张图比它还小？",
  ],
  guide_shrink_0: ["On none", "没有"],
  guide_shrink_1: ["On one", "一个"],
  guide_shrink_2: ["On several", "好几个"],
  guide_shrink_answer: [
    "The maps' sides are {sides}: on {count} stages {reach} is more. There, part of the kernel always meets padding.",
    "各阶段图的边长是 {sides}：有 {count} 个阶段小于 {reach}。在那里，核的一部分总是碰到填充。",
  ],
  guide_near: ["Near", "近"],
  guide_near_text: [
    "Step one looks at 5 × 5 places of its own channel. Each coloured square is one product, weight times value; the list below adds them up. Move over the squares.",
    "第一步看自己通道的 5 × 5 个位置。每个色块是一个乘积：权重乘以值；下面的列表把它们加起来。把指针移到色块上试试。",
  ],
  guide_far: ["Far", "远"],
  guide_far_text: [
    "Step two takes 7 × 7 places of near, three apart, so 7 × 3 = 21 is what the paper calls the kernel. How much of u does one far value really read?",
    "第二步在“近”图上取相隔 3 的 7 × 7 个位置，论文因此称核为 7 × 3 = 21。一个“远”值实际读取 u 的多大范围？",
  ],
  guide_far_0: ["21 × 21", "21 × 21"],
  guide_far_1: ["23 × 23", "23 × 23"],
  guide_far_2: ["49 × 49", "49 × 49"],
  guide_far_answer: [
    "The outermost taps are 9 places away, and each brings a 5 × 5 window, two places more: 2 × (9 + 2) + 1 = {reach}. Choose a tap below far to see its window on u.",
    "最外面的抽头相距 9 个位置，各带一个 5 × 5 的窗口，再多 2 个：2 × (9 + 2) + 1 = {reach}。在“远”的下面选一个抽头，看它在 u 上的窗口。",
  ],
  guide_mix: ["Mix", "混合"],
  guide_mix_text: [
    "Step three looks at one place only, but at all channels of far there. The longest bars are the channels that this attention listens to. Click one to go there.",
    "第三步只看一个位置，但看那里“远”的所有通道。最长的条就是这个注意力所听的通道。点击一个就能过去。",
  ],
  guide_gate: ["The gate", "门"],
  guide_gate_text: [
    "No sigmoid, no softmax. The attention at a place is −2. What becomes of u = +3 there?",
    "没有 sigmoid，也没有 softmax。某处的注意力是 −2，那里的 u = +3 会变成什么？",
  ],
  guide_gate_0: ["0: it is shut out", "0：被挡住"],
  guide_gate_1: ["It stays +3", "还是 +3"],
  guide_gate_2: ["It becomes −6", "变成 −6"],
  guide_gate_answer: [
    "The gate is a multiplication by any number: it can turn a feature over, and make it larger. That is what blue means in the attention map.",
    "门就是乘以任意一个数：它可以把特征翻转，也可以放大。注意力图里的蓝色就是这个意思。",
  ],
  guide_which: ["Where or which", "哪里或哪个"],
  guide_which_text: [
    "Suppose every attention map, in every block, is replaced by its mean: each channel keeps its weight, every place gets the same. Does the answer for this photo change?",
    "假设每个块里的每张注意力图都换成它的均值：每个通道保留权重，但各处都一样。这张照片的答案会变吗？",
  ],
  guide_which_0: ["It stays", "不变"],
  guide_which_1: ["It changes", "会变"],
  guide_which_answer: [
    "{photo}: {before} {p} before, {then} {q} after. Try another photo, and see the figure for many below.",
    "{photo}：之前 {before} {p}，之后 {then} {q}。换一张照片试试。",
  ],
  guide_cost: ["The cost", "代价"],
  guide_cost_text: [
    "For K = 21, which dilation d takes the fewest weights, when the near kernel is 2d − 1 wide?",
    "K = 21，近核宽 2d − 1，哪个膨胀率 d 用的权重最少？",
  ],
  guide_cost_0: ["d = 1", "d = 1"],
  guide_cost_1: ["d = 3", "d = 3"],
  guide_cost_2: ["d = 7", "d = 7"],
  guide_cost_answer: [
    "Per channel they take {costs}. A larger d makes far smaller and near larger; at 3 far has {far} × {far} taps. Move the sliders: with a near kernel narrower than d, gaps turn red.",
    "每通道分别需要 {costs} 个权重。d 越大，远核越小，近核越大；d = 3 时远核有 {far} × {far} 个抽头。拖动滑块：近核比 d 窄时，空隙变红。",
  ],
  // foot
  computed: [
    "{network}, {weights}: computed here in {milliseconds} ms.",
    "{network}，{weights}：在此用 {milliseconds} 毫秒算出。",
  ],
  same_bits: [
    "Every logit has the same bits as Python's, engine {engine}: largest difference 0.",
    "每个 logit 都与 Python（引擎 {engine}）的逐位相同：最大差别为 0。",
  ],
  differs: [
    "Largest difference from Python's logits, engine {engine}: {largest}.",
    "与 Python 的 logit（引擎 {engine}）最大相差 {largest}。",
  ],
  decoders: [
    "Browsers and Python decode JPEG differently: probabilities may differ by half a point.",
    "浏览器与 Python 解码 JPEG 的方式不同：概率可能相差半个百分点。",
  ],
  light: [
    "This light page holds one photo, computed by Python, and LKA's weights; a full page takes any photo and can be changed.",
    "这是精简页面：只有一张由 Python 算好的照片和 LKA 的权重；完整页面可以放入任何照片，也可以改动网络。",
  ],
  terms: ["The bundled weights are for research and education.", "所附权重仅供研究与教学。"],
  private: ["Nothing leaves this page: it has no network access.", "这个页面不联网，任何东西都不会离开它。"],
};

const LANGUAGES = ["en", "zh"];

// The text of a key with its places filled in.
export function t(key, values = {}) {
  return TEXTS[key][LANGUAGES.indexOf(state.language)].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

// The same where what is filled in are elements: a list of texts and nodes.
export function sentence(key, nodes) {
  const parts = TEXTS[key][LANGUAGES.indexOf(state.language)].split(/\{(\w+)\}/);
  return parts.map((part, i) => (i % 2 ? nodes[part] : part));
}

// Put the texts into the elements that ask for them: data-text for the content, data-label for what a screen reader hears.
export function translate(language) {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  document.title = t("title");
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
}
