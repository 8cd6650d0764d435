"""The claims of the textbooks on convolution and pooling, and what is true of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from viztool.demos.registry import demos

Verdict = Literal["true", "conditional", "false"]


@dataclass(frozen=True)
class Claim:
    """A sentence as the textbooks have it, in English and in Chinese. condition: what is to be said of it.

    demo: the one that shows it; "" as long as none does. verdict: of the sentence as it is usually said.
    """

    number: int
    demo: str
    sentence: str
    zh: str
    verdict: Verdict
    condition: str


_TEXTS: dict[int, tuple[str, str, Verdict, str]] = {
    1: (
        "A convolution multiplies elementwise and slides; it shrinks the image and deepens the channels.",
        "卷积逐元素相乘并滑动：缩小图像，加深通道。",
        "conditional",
        "It must also sum the products. Shrinking and deepening are choices of stride, padding and output channels. "
        "What libraries compute is a correlation: the kernel is not flipped.",
    ),
    2: (
        "The output has ⌊(n + 2p − f)/s⌋ + 1 pixels a side, of pooling too; kernel 3, stride 2, padding 1 halves it.",
        "输出边长为 ⌊(n + 2p − f)/s⌋ + 1，池化亦然；核 3、步幅 2、填充 1 使边长减半。",
        "conditional",
        "The formula holds; with dilation f becomes d(f − 1) + 1, and pooling may round up. Half is ⌈n/2⌉: an odd "
        "side is rounded up.",
    ),
    3: (
        "A 1 × 1 convolution mixes channels and leaves the plane alone; it equals a fully connected layer.",
        "1 × 1 卷积只混合通道，不改变平面；等价于全连接层。",
        "conditional",
        "It equals one fully connected layer per pixel, the same at every pixel, not one over the whole image.",
    ),
    4: (
        "A 3 × 3 kernel with dilation 2 has the field of a 5 × 5 with 36 % of the weights, and keeps the size.",
        "空洞率 2 的 3 × 3 核具有 5 × 5 的感受野，只用 36% 的权重，且尺寸不变。",
        "conditional",
        "The size is kept with padding 2 alone, and it touches 9 of the 25 pixels: stacks of one dilation leave gaps.",
    ),
    5: (
        "Two 3 × 3 convolutions equal one 5 × 5, three equal one 7 × 7.",
        "两个 3 × 3 卷积等于一个 5 × 5，三个等于一个 7 × 7。",
        "conditional",
        "They have the same field and size, with fewer weights. They are not the same functions: most 5 × 5 kernels "
        "are no pair of 3 × 3.",
    ),
    6: (
        "A 1 × 3 and then a 3 × 1 convolution replace a 3 × 3.",
        "先 1 × 3 后 3 × 1 的卷积可以替代 3 × 3。",
        "conditional",
        "Only kernels of rank 1, as Sobel's is, are such a product.",
    ),
    7: (
        "A depthwise convolution has one kernel per channel and cannot expand the channels.",
        "深度卷积每个通道一个核，不能扩展通道数。",
        "conditional",
        "With groups = C_in it may put out m · C_in channels.",
    ),
    8: (
        "A convolution in G groups has 1/G of the weights.",
        "分 G 组的卷积权重为原来的 1/G。",
        "true",
        "The bias excepted: it stays as it is.",
    ),
    9: (
        "A 3D convolution shares one kernel over the channels.",
        "三维卷积在各通道间共享同一个核。",
        "conditional",
        "Its slices differ from one another. It is shared because it also slides in depth, which a 2D convolution, "
        "as deep as its input, cannot.",
    ),
    10: (
        "A transposed convolution inverts a convolution.",
        "转置卷积是卷积的逆运算。",
        "false",
        "It restores the size, not the values: zeros go between the pixels, then the flipped kernel slides over them.",
    ),
    11: (
        "The checkerboard comes when the stride does not divide the kernel; resizing and then convolving cures it.",
        "步幅不整除核大小时出现棋盘格；先放大再卷积即可消除。",
        "conditional",
        "Resizing first does cure it. Of the first half: on noise a divisible kernel draws no grid, on flat parts most "
        "4 × 4 kernels with stride 2 still do, and bilinear 3 × 3 does not. Equal kernel sums in each of the s × s "
        "phases decide.",
    ),
    12: (
        "Bilinear interpolation weighs the four neighbours; learned upsampling needs no such rule.",
        "双线性插值对四个邻点加权；可学习的上采样无需插值公式。",
        "true",
        "It is exact on planes with a product term, a + bx + cy + dxy.",
    ),
    13: (
        "Unpooling with indices keeps high frequencies better than replication.",
        "带索引的反池化比复制更能保留高频。",
        "false",
        "On photos it is worse in every number: three quarters of its pixels are zeros.",
    ),
    14: (
        "A 5 × 5 layer of 6 maps on 32 × 32 has 156 parameters and 122,304 connections.",
        "5 × 5、6 个特征图的卷积层有 156 个参数、122,304 个连接。",
        "true",
        "Fully connected it would have 4,821,600 connections, with a weight each.",
    ),
    15: (
        "Pooling has two parameters per channel, or none.",
        "池化层每通道有两个参数，或没有参数。",
        "conditional",
        "Two per channel in LeNet-5 alone, whose pooling is scaled, shifted and squashed; none in today's layers.",
    ),
    16: (
        "Mean pooling keeps the background, max pooling keeps the texture.",
        "平均池化保留背景，最大池化保留纹理。",
        "conditional",
        "It depends on polarity: max keeps what is bright. Dark ink on a white page vanishes, bright ink grows.",
    ),
    17: (
        "Mean pooling reduces the variance of the estimate; max pooling reduces the shift of its mean.",
        "平均池化减小估计方差；最大池化减小均值偏移。",
        "conditional",
        "The mean does. Max pooling adds bias: of noise around zero it makes noise around one.",
    ),
    18: (
        "Max pooling after Sobel removes flat parts and noise.",
        "Sobel 之后的最大池化去除平坦区域与噪声。",
        "false",
        "It spreads salt, and the ratio of edges to flat parts falls. It removes pepper, and keeps more edges than "
        "plain subsampling.",
    ),
    19: (
        "Pooling makes a network invariant to translation and rotation.",
        "池化使网络具有平移与旋转不变性。",
        "false",
        "It is equivariant to shifts by its stride, exactly; a shift by one pixel changes it, on photos by about half "
        "of its deviation, less if it is blurred first.",
    ),
    20: (
        "A convolution with stride 2 replaces pooling.",
        "步幅为 2 的卷积可以替代池化。",
        "conditional",
        "Average pooling is one such convolution. Max pooling is none: it is not linear.",
    ),
    21: (
        "Backward, max pooling sends the gradient to the winner, mean pooling spreads it, and the sum is kept.",
        "反向传播时，最大池化把梯度传给胜者，平均池化均摊，梯度总和不变。",
        "conditional",
        "Of ties the first takes all. Overlapping windows give one pixel several gradients, and padding takes a part "
        "of the mean's.",
    ),
    22: (
        "Pooling cuts parameters and overfitting, and keeps the channels.",
        "池化减少参数与过拟合，并保持通道数。",
        "conditional",
        "It has no parameters itself, and spares only those of dense layers behind it.",
    ),
    23: (
        "Batch norm gives mean 0 and variance 1, and cures vanishing gradients.",
        "批归一化使均值为 0、方差为 1，并解决梯度消失。",
        "conditional",
        "The variance is v/(v + ε), over this batch. A bias in front of it does nothing. It keeps a sigmoid's inputs "
        "where its slope is largest, .25 at most.",
    ),
    24: (
        "γ and β can undo batch norm.",
        "γ 与 β 可以还原批归一化。",
        "true",
        "With γ = √(v + ε) and β = μ.",
    ),
    25: (
        "The sigmoid saturates, tanh is a scaled sigmoid, ReLU does not saturate but dies.",
        "sigmoid 会饱和，tanh 是缩放的 sigmoid，ReLU 不饱和但会死亡。",
        "true",
        "tanh(x) = 2σ(2x) − 1 saturates, too.",
    ),
    26: (
        "A stack of linear layers is one linear layer.",
        "线性层的堆叠仍是一个线性层。",
        "true",
        "Without padding. Zero padding between the layers makes the border differ.",
    ),
    27: (
        "Depth counts convolutional and fully connected layers; deeper networks have more parameters.",
        "深度只计卷积层与全连接层；网络越深参数越多。",
        "conditional",
        "The first is a custom with exceptions: ResNet-18 has 21 such layers. The second is false: ResNet-50 has "
        "less than a fifth of VGG-16's parameters.",
    ),
    28: (
        "Dropout stops neurons with probability p.",
        "Dropout 以概率 p 停用神经元。",
        "conditional",
        "In training alone, and those that stay are scaled by 1/(1 − p), so that the mean stays as it is.",
    ),
    29: (
        "Pixels at the border are used less; padding helps, or does not.",
        "边缘像素被使用得更少；填充有帮助，或没有帮助。",
        "conditional",
        "Both halves are right: with padding a corner counts four times instead of once, the centre nine times.",
    ),
    30: (
        "A convolution does not care about height and width; flat areas give a Sobel of 0.",
        "卷积不关心图像的高和宽；平坦区域的 Sobel 响应为 0。",
        "conditional",
        "The first holds. Exactly zero are few pixels of a photo: its flat areas are small, not zero.",
    ),
    31: (
        "See a kernel by gradient ascent on a noise image, until it converges.",
        "对噪声图像做梯度上升直至收敛，即可看到卷积核。",
        "conditional",
        "Without a bound on the image it never converges. The mean response of a linear kernel has the same gradient "
        "everywhere inside, the kernel's sum over N: none for a kernel that sums to zero, as Sobel's. With unit norm "
        "and one position the optimum is the kernel.",
    ),
    32: (
        "Noise in training makes networks more sensitive.",
        "训练中加入噪声会使网络更敏感。",
        "false",
        "It is there to make them robust: trained with noise they lose less when it comes.",
    ),
    33: (
        "Changing a leaf that needs gradients in place is an error.",
        "就地修改需要梯度的叶子张量会报错。",
        "true",
        "Under no_grad it is allowed, which is how optimizers step.",
    ),
}


def claim(number: int) -> Claim:
    """The claim of this number, and the demo that shows it."""
    sentence, zh, verdict, condition = _TEXTS[number]
    shown_by = next((one.name for one in demos().values() if number in one.claims), "")
    return Claim(number, shown_by, sentence, zh, verdict, condition)


def all_claims() -> dict[int, Claim]:
    """Every claim, by number."""
    return {number: claim(number) for number in _TEXTS}
