"""Random small networks: all kinds of layers that people build, in any order, at odd sizes.

`random_network(seed)` is the same network each time. A layer keeps the number of channels; it may change the
size. Each kind of layer is a function in `LAYERS` that draws its details; kinds are named after what is hard
about them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

C = 4
"""Channels inside the networks."""


class Function(nn.Module):
    """A layer without weights."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Around(nn.Module):
    """A layer that does something before and after an inner one."""

    def __init__(self, inner: nn.Module, function: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.inner, self.function = inner, function

    def forward(self, x):
        return self.function(self.inner, x)


class Attention(nn.Module):
    """Attention: every position reads every other."""

    def forward(self, x):
        flat = x.flatten(2)
        weights = (flat.transpose(1, 2) @ flat / 4).softmax(-1)
        return (flat @ weights).view_as(x)


class Transformer(nn.Module):
    """Attention and a perceptron on tokens, normalised: a block of a ViT."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(C) for _ in range(2))
        self.qkv, self.mix = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.mlp = nn.Sequential(nn.Linear(C, 2 * C), nn.GELU(), nn.Linear(2 * C, C))

    def tokens(self, x):
        n, length, _ = x.shape
        q, k, v = (
            part.reshape(n, length, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norms[0](x)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, C)
        x = x + self.mix(mixed)
        return x + self.mlp(self.norms[1](x))

    def forward(self, x):
        return self.tokens(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)


class Windows(nn.Module):
    """A transformer block within windows, which may be shifted: a block of a Swin."""

    def __init__(self, side: int, shift: int):
        super().__init__()
        self.block, self.side, self.shift = Transformer(2), side, shift

    def forward(self, x):
        n, c, h, w = x.shape
        s = self.side
        x = F.pad(x, (0, -w % s, 0, -h % s)).roll((-self.shift, -self.shift), (2, 3))
        rows, columns = x.shape[2] // s, x.shape[3] // s
        x = x.view(n, c, rows, s, columns, s).permute(0, 2, 4, 3, 5, 1)
        x = self.block.tokens(x.reshape(-1, s * s, c))
        x = x.view(n, rows, columns, s, s, c).permute(0, 5, 1, 3, 2, 4)
        x = x.reshape(n, c, rows * s, columns * s).roll((self.shift, self.shift), (2, 3))
        return x[:, :, :h, :w]


def conv(d: Random, size: int | None = None) -> nn.Conv2d:
    """A convolution that keeps the size."""
    k = size or d.choice([1, 3, 5])
    mode = d.choice(["zeros"] * 5 + ["reflect", "replicate", "circular"])
    return nn.Conv2d(C, C, k, padding=k // 2, padding_mode=mode)


def norm(d: Random) -> nn.Module:
    layer = nn.BatchNorm2d(C)
    nn.init.uniform_(layer.weight, 0.5, 1.5)
    nn.init.normal_(layer.bias)
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    return layer


def any_convolution(d: Random) -> nn.Module:
    odd = [1, 3, 5]
    return nn.Conv2d(
        C, C, (d.choice(odd), d.choice(odd)), stride=(d.randint(1, 3), d.randint(1, 3)),
        padding=(d.randint(0, 3), d.randint(0, 3)), dilation=d.randint(1, 2),
        groups=d.choice([1, C]),
    )  # fmt: skip


def same_convolution(d: Random) -> nn.Module:
    return nn.Conv2d(
        C, C, (d.randint(1, 4), d.randint(1, 4)), padding="same", dilation=d.randint(1, 2)
    )


def gcn(d: Random) -> nn.Module:
    k = d.choice([1, 3, 5])
    return nn.Sequential(
        nn.Conv2d(C, C, (k, 1), padding=(k // 2, 0)), nn.Conv2d(C, C, (1, k), padding=(0, k // 2))
    )


def transposed_convolution(d: Random) -> nn.Module:
    kernel, stride = d.randint(1, 4), d.randint(1, 3)
    return nn.ConvTranspose2d(
        C, C, kernel, stride, padding=d.randint(0, kernel - 1),
        output_padding=d.randint(0, stride - 1), groups=d.choice([1, C]),
    )  # fmt: skip


def max_pool(d: Random) -> nn.Module:
    kernel = d.randint(2, 3)
    return nn.MaxPool2d(
        kernel, d.randint(1, 3), kernel // 2, d.randint(1, 2), ceil_mode=d.choice([True, False])
    )


def average_pool(d: Random) -> nn.Module:
    kernel = d.randint(2, 3)
    return nn.AvgPool2d(
        kernel, d.randint(1, 3), d.randint(0, 1), d.choice([True, False]), d.choice([True, False])
    )


def other_pool(d: Random) -> nn.Module:
    return d.choice([nn.LPPool2d(2, 2), nn.AdaptiveAvgPool2d(7), nn.AdaptiveMaxPool2d((5, 6))])


def upsample(d: Random) -> nn.Module:
    mode = d.choice(["nearest", "nearest-exact", "bilinear", "bicubic"])
    options = {} if "nearest" in mode else {"align_corners": d.choice([True, False])}
    size = (d.randint(3, 30), d.randint(3, 30))
    if options and not options["align_corners"] and d.random() < 0.3:
        options["antialias"] = True
        return Function(lambda x: F.interpolate(x, size, mode=mode, **options))
    if d.random() < 0.5:
        return nn.Upsample(scale_factor=d.choice([2, 3, 1.5]), mode=mode, **options)
    return nn.Upsample(size=size, mode=mode, **options)


def padding(d: Random) -> nn.Module:
    pad = [d.randint(-2, 4) for _ in range(4)]
    mode = d.choice(["constant", "constant", "replicate", "reflect", "circular"])
    value = d.choice([0.0, 1.0]) if mode == "constant" else None
    if mode in ("reflect", "circular"):
        pad = [max(0, p) for p in pad]
    return Function(lambda x: F.pad(x, pad, mode, value))


def padding_inside(d: Random) -> nn.Module:
    """Padding by up to 60 on each side before a layer, and cropping after it."""
    more = [d.randint(0, 60) for _ in range(4)]

    def forward(inner, x):
        y = inner(F.pad(x, more))
        return y[..., more[2] : more[2] + x.shape[-2], more[0] : more[0] + x.shape[-1]]

    return Around(conv(d), forward)


def shift(d: Random) -> nn.Module:
    """A shift: padding on one side and cropping on the other."""
    down, right = d.randint(-3, 3), d.randint(-3, 3)
    return Function(lambda x: F.pad(x, (right, -right, down, -down)))


def padded_channels(d: Random) -> nn.Module:
    front, back = d.randint(0, 2), d.randint(0, 2)
    return nn.Sequential(
        Function(lambda x: F.pad(x, (1, 0, 0, 1, front, back))), nn.Conv2d(C + front + back, C, 3)
    )


def slice_of_space(d: Random) -> nn.Module:
    a, b, s = d.randint(0, 2), d.randint(1, 3), d.randint(1, 2)
    return d.choice(
        [
            Function(lambda x: x[:, :, a:, ::s][..., : x.shape[-1] // s - b]),
            Function(lambda x: x[..., a:-b, -9:]),
            Function(lambda x: x[..., ::2, 1::2]),
            Function(lambda x: x.narrow(2, a, x.shape[2] - a - b)),
        ]
    )


def slice_of_the_batch(d: Random) -> nn.Module:
    return Function(d.choice([lambda x: x[:1], lambda x: x[: len(x)], lambda x: x[-1:]]))


def focus(d: Random) -> nn.Module:
    """Four strided slices stacked: space to depth, as YOLO's stem has it."""

    def forward(inner, x):
        x = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
        parts = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
        return inner(torch.cat(parts, 1))

    return Around(nn.Conv2d(4 * C, C, 1), forward)


def pixel_shuffle(d: Random) -> nn.Module:
    if d.random() < 0.5:
        return nn.Sequential(nn.Conv2d(C, 4 * C, 1), nn.PixelShuffle(2))
    return nn.Sequential(
        Function(lambda x: x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]),
        nn.PixelUnshuffle(2),
        nn.Conv2d(4 * C, C, 1),
    )


def channels_folded_into_the_batch(d: Random) -> nn.Module:
    blur, act = nn.Conv2d(1, 1, 3, padding=1), d.choice([nn.Identity(), nn.ReLU(), norm(d)])

    def forward(inner, x):
        n, c, h, w = x.shape
        return inner(x.reshape(n * c, 1, h, w)).reshape(n, c, h, w)

    return nn.Sequential(Around(blur, forward), act)


def tiles_folded_into_the_batch(d: Random) -> nn.Module:
    side = d.randint(3, 6)

    def forward(inner, x):
        n, c, h, w = x.shape
        x = F.pad(x, (0, -w % side, 0, -h % side))
        rows, columns = x.shape[2] // side, x.shape[3] // side
        x = x.view(n, c, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
        x = inner(x.reshape(-1, c, side, side)).view(n, rows, columns, c, side, side)
        return x.permute(0, 3, 1, 4, 2, 5).reshape(n, c, rows * side, columns * side)[..., :h, :w]

    return Around(nn.Sequential(conv(d, 3), d.choice([nn.ReLU(), nn.Identity()])), forward)


def mirrored_in_the_batch(d: Random) -> nn.Module:
    """Test-time augmentation inside the network."""

    def forward(inner, x):
        there, back = inner(torch.cat([x, x.flip(-1)])).chunk(2)
        return (there + back.flip(-1)) / 2

    return Around(nn.Sequential(conv(d), nn.ReLU()), forward)


def rearranged(d: Random) -> nn.Module:
    by = d.randint(1, 3)
    return Function(
        d.choice(
            [
                lambda x: x.flip(-1),
                lambda x: x.flip(1),
                lambda x: x.roll(by, 2),
                lambda x: x.roll(by, 1),
                lambda x: x.transpose(2, 3),
                lambda x: x[:, [2, 1, 0, 3]],
                lambda x: x.view(len(x), 2, C // 2, *x.shape[2:]).transpose(1, 2).reshape(x.shape),
                lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
                lambda x: torch.cat([x, x[:, :, -2:]], 2),
                lambda x: torch.cat([torch.zeros_like(x[..., :2]), x], 3),
            ]
        )
    )


def pyramid(d: Random) -> nn.Module:
    """A global branch beside the local one, as in PSPNet."""
    bins, mode = d.choice([1, 2, 3]), d.choice(["nearest", "bilinear"])

    def forward(inner, x):
        pooled = F.interpolate(F.adaptive_avg_pool2d(x, bins), size=x.shape[-2:], mode=mode)
        return inner(torch.cat([x, pooled] if bins < 3 else [pooled, x], 1))

    return Around(nn.Conv2d(2 * C, C, 3, padding=1), forward)


def gate(d: Random) -> nn.Module:
    """Squeeze and excitation, CBAM's two gates, group norm."""

    def spatial(inner, x):
        maps = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return x * torch.sigmoid(inner(maps))

    return d.choice(
        [
            Around(nn.Conv2d(C, C, 1), lambda f, x: x * f(x.mean((2, 3), keepdim=True)).sigmoid()),
            Around(
                nn.Conv2d(C, C, 1),
                lambda f, x: x * f(F.adaptive_avg_pool2d(x, 1)).sigmoid().expand_as(x),
            ),
            Around(nn.Conv2d(2, 1, 5, padding=2), spatial),
            Around(nn.GroupNorm(2, C), lambda f, x: x * torch.sigmoid(f(x))),
            Around(nn.Linear(C, C), lambda f, x: x * f(x.mean((2, 3)))[..., None, None]),
        ]
    )


def local_meets_global(d: Random) -> nn.Module:
    return Function(
        d.choice(
            [
                lambda x: torch.maximum(x, x.mean((2, 3), keepdim=True)),
                lambda x: x + F.adaptive_max_pool2d(x, 1),
                lambda x: torch.cat([x, x.mean((2, 3), keepdim=True).expand_as(x)], 1)[:, ::2],
                lambda x: x / (1 + x.abs().amax((1, 2, 3), keepdim=True)),
                lambda x: x - x.mean(),
            ]
        )
    )


def mask(d: Random) -> nn.Module:
    return Function(
        d.choice(
            [
                lambda x: torch.where(x > 0, x, 0.1 * x),
                lambda x: x * (x > 0),
                lambda x: x.masked_fill(x < 0, -0.5),
                lambda x: x + (x > 0.2),
                lambda x: x * (x.softmax(1).amax(1, keepdim=True) > 0.4),
                lambda x: torch.where((x > 0) & (x < 1) | ~(x > -1), x, x.sin()),
                lambda x: x * (x.argmax(1, keepdim=True) == 2),
                lambda x: x.masked_fill(x < -0.5, float("-inf")).softmax(1),
                lambda x: x * torch.cat([x > 0, x < 1], 1)[:, ::2],
                lambda x: x.round() * (x.long() % 2),
                lambda x: x * (x > x.mean((2, 3), keepdim=True)),
            ]
        )
    )


def broadcast_sum(d: Random) -> nn.Module:
    return Function(
        d.choice(
            [
                lambda x: x + x.mean(1, keepdim=True),
                lambda x: x[:, :1] - 0.5 * x,
                lambda x: x[:, 1:2] + x[:, 2:3].expand_as(x),
                lambda x: x + x.mean(2, keepdim=True),
                lambda x: x.mean(3, keepdim=True) + x.mean(2, keepdim=True),
                lambda x: torch.add(x[:, :1], x.sum((2, 3), keepdim=True), alpha=0.01),
                lambda x: x + x[:, :, :1] + x[..., -1:],
            ]
        )
    )


def constants(d: Random) -> nn.Module:
    """Weights that differ between positions, and coordinates."""

    def coordinates(inner, x):
        rows = torch.linspace(0, 1, x.shape[-2], dtype=x.dtype)[:, None].expand(x.shape[-2:])
        return inner(torch.cat([x, rows.expand(len(x), 1, -1, -1)], 1))

    return d.choice(
        [
            Function(lambda x: 2 * x - 0.5),
            Function(
                lambda x: (
                    x * torch.linspace(0.5, 2, x.shape[-1], dtype=x.dtype)
                    + torch.linspace(0, 1, x.shape[-2], dtype=x.dtype)[:, None]
                )
            ),
            Function(
                lambda x: x[:, :, :1] * torch.ones(x.shape[-2], 1, dtype=x.dtype) + x.sigmoid()
            ),
            Around(nn.Conv2d(C + 1, C, 1), coordinates),
        ]
    )


def unpooling(d: Random) -> nn.Module:
    """SegNet's: each value goes back to where its maximum was."""

    def forward(inner, x):
        pooled, indices = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(inner(pooled), indices, 2)

    return Around(conv(d), forward)


def several_answers(d: Random) -> nn.Module:
    def halves(inner, x):
        a, b = x.chunk(2, 1)
        return torch.cat([b * a.sigmoid(), inner(a)], 1)

    def three(inner, x):
        a, b, c = x.split([1, 2, 1], 1)
        return torch.cat([c, inner(b) + a, a], 1)

    def columns(inner, x):
        a, b = x[..., : x.shape[-1] // 2 * 2].chunk(2, 3)
        return torch.cat([b, a], 3)

    return Around(nn.Conv2d(2, 2, 3, padding=1), d.choice([halves, three, columns]))


def weights_of_the_image(d: Random) -> nn.Module:
    def dynamic(inner, x):
        kernel = inner(F.adaptive_avg_pool2d(x, 3))
        return torch.cat(
            [F.conv2d(one[None], k[:, None], padding=1, groups=C) for one, k in zip(x, kernel)]
        )

    def warp(inner, x):
        n, _, h, w = x.shape
        rows, columns = torch.meshgrid(
            torch.linspace(-1, 1, h, dtype=x.dtype),
            torch.linspace(-1, 1, w, dtype=x.dtype),
            indexing="ij",
        )
        grid = torch.stack([columns, rows], -1).expand(n, -1, -1, -1)
        moved = grid + 0.3 * inner(x)[:, :2].tanh().permute(0, 2, 3, 1)
        return F.grid_sample(x, moved, align_corners=True)

    return Around(nn.Conv2d(C, C, 1), d.choice([dynamic, warp]))  # fmt: skip


def shared(d: Random) -> nn.Module:
    def forward(inner, x):
        return inner(x) + 0.5 * inner(F.relu(inner(x)))

    return Around(nn.Sequential(conv(d), norm(d)), forward)


def normalisation(d: Random) -> nn.Module:
    return d.choice(
        [
            nn.GroupNorm(2, C),
            nn.InstanceNorm2d(C),
            nn.LocalResponseNorm(3),
            Around(
                nn.LayerNorm(C), lambda f, x: f(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            ),
            Function(lambda x: F.normalize(x, dim=1)),
            Function(lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1).sqrt()),
            Function(lambda x: F.batch_norm(x, None, None, training=True)),
        ]
    )  # fmt: skip


def activation(d: Random) -> nn.Module:
    return d.choice(
        [
            nn.ReLU(), nn.ReLU(inplace=True), nn.SiLU(), nn.Hardswish(), nn.Sigmoid(), nn.ReLU6(),
            nn.GELU(), nn.PReLU(C), nn.Softmax(1), nn.LogSoftmax(1), nn.LeakyReLU(), nn.ELU(),
            nn.Mish(), nn.Dropout(0.5), nn.Softmin(1),
            nn.Sequential(nn.Conv2d(C, 2 * C, 1), nn.GLU(1)),
            Function(lambda x: x.cumsum(1)),
            Function(lambda x: x.float().to(x.dtype) if x.dtype != torch.float64 else x + 0),
            Function(lambda x: x.clone().mul_(1.5).add_(0.1)),
        ]
    )  # fmt: skip


def transformer(d: Random) -> nn.Module:
    side = d.randint(2, 5)
    return d.choice(
        [Attention(), Transformer(d.choice([1, 2])), Windows(side, d.randint(0, side - 1))]
    )


def convnext(d: Random) -> nn.Module:
    """Channels last inside: a depthwise convolution, then a perceptron for each position."""
    depthwise = nn.Conv2d(C, C, 5, padding=2, groups=C)
    mlp = nn.Sequential(nn.LayerNorm(C), nn.Linear(C, 2 * C), nn.GELU(), nn.Linear(2 * C, C))
    last = Around(mlp, lambda f, x: f(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
    return nn.Sequential(depthwise, last)


def patches(d: Random) -> nn.Module:
    def forward(inner, x):
        columns = F.unfold(x, 3, padding=1)
        return F.fold(inner(columns.transpose(1, 2)).transpose(1, 2), x.shape[-2:], 3, padding=1)

    return Around(nn.Linear(9 * C, 9 * C), forward)


def residual(d: Random) -> nn.Module:
    """A branch added to its input, or stacked on it."""
    branch = nn.Sequential(conv(d, 3), d.choice([nn.ReLU(), nn.Identity()]), norm(d))
    how = d.choice(["add", "sub", "twice", "mul", "max", "cat"])
    if how == "cat":
        joined = Around(branch, lambda f, x: torch.cat([x, f(x)], 1))
        return nn.Sequential(joined, nn.Conv2d(2 * C, C, 1))
    functions = {
        "add": lambda f, x: torch.add(x, f(x), alpha=0.5),
        "sub": lambda f, x: x - f(x),
        "twice": lambda f, x: (lambda y: y + y)(f(x)),
        "mul": lambda f, x: x * f(x),
        "max": lambda f, x: torch.maximum(x, f(x)),
    }
    return Around(branch, functions[how])


def encoder(d: Random) -> nn.Module:
    """A U-Net of one level."""
    down = d.choice([nn.MaxPool2d(2), nn.Conv2d(C, C, 3, 2, 1), nn.AvgPool2d(2)])
    mode = d.choice(["nearest", "bilinear"])

    def forward(inner, x):
        up = F.interpolate(inner(down(x)), size=x.shape[-2:], mode=mode)
        return x + up

    around = Around(nn.Sequential(conv(d, 3), nn.ReLU()), forward)
    around.down = down
    return around


LAYERS = (
    any_convolution, same_convolution, gcn, transposed_convolution, max_pool, average_pool, other_pool,
    upsample, padding, padding_inside, shift, padded_channels, slice_of_space, slice_of_the_batch,
    focus, pixel_shuffle, channels_folded_into_the_batch, tiles_folded_into_the_batch,
    mirrored_in_the_batch, rearranged, pyramid, gate, local_meets_global, mask, broadcast_sum,
    constants, unpooling, several_answers, weights_of_the_image, shared, normalisation, activation,
    transformer, convnext, patches, residual, encoder, norm,
)  # fmt: skip


class Network(nn.Module):
    """Layers one after the other; the logits are returned directly or in a dict."""

    def __init__(self, layers: list[nn.Module], form: str):
        super().__init__()
        self.layers, self.form = nn.Sequential(*layers), form

    def forward(self, x):
        scores = self.layers(x)
        return scores if self.form == "tensor" else {"aux": scores.relu(), self.form: scores}


@dataclass
class Drawn:
    """A network, an image that it takes, and what it is made of.

    Attributes:
        model: in double precision: a discrepancy may be a millionth of the scores.
        image: (3, height, width).
        size: of the score map.
        kinds: of its layers.
    """

    model: nn.Module
    image: Tensor
    size: tuple[int, int]
    kinds: list[str]


def random_network(seed: int) -> Drawn:
    """One network; at least 3 rows and columns are left everywhere."""
    d = Random(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        image = torch.randn(3, d.randint(9, 40), d.randint(9, 40), dtype=torch.float64)
        layers = [nn.Conv2d(3, C, 3, stride=d.randint(1, 2), padding=1).double()]
        kinds = []
        for _ in range(d.randint(1, 5)):
            kind = d.choice(LAYERS)
            new = kind(d).double()
            with torch.no_grad():
                try:
                    answer = nn.Sequential(*layers, new).eval()(image[None])
                except RuntimeError:  # too small for this layer
                    continue
            size = answer.shape[-2:]
            if min(size) >= 3 and max(size) <= 90 and answer.isfinite().all():
                layers.append(new)
                kinds.append(kind.__name__)
        layers.append(nn.Conv2d(C, 3, 1).double())
        form = d.choice(["tensor"] * 4 + ["out", "logits"])
        model = Network(layers, form).eval()
        with torch.no_grad():
            size = tuple(model.layers(image[None]).shape[-2:])
    return Drawn(model, image, size, kinds)
