"""Random small networks for property tests: all kinds of layers, branches, odd sizes."""

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    """A branch added to its input, or stacked on it."""

    def __init__(self, branch, how):
        super().__init__()
        self.branch, self.how = branch, how

    def forward(self, x):
        y = self.branch(x)
        if self.how == "cat":
            return torch.cat([x, y], 1)
        if self.how == "sub":
            return x - y
        if self.how == "twice":
            return y + y
        return torch.add(x, y, alpha=0.5)


class Squeeze(nn.Module):
    """Squeeze and excitation: every channel is weighed by the mean of the whole map."""

    def __init__(self, channels):
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.weigh(x)


class Attention(nn.Module):
    """Every position looks at every other."""

    def forward(self, x):
        flat = x.flatten(2)
        weights = (flat.transpose(1, 2) @ flat / 4).softmax(-1)
        return (flat @ weights).view_as(x)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def norm(channels):
    layer = nn.BatchNorm2d(channels)
    nn.init.uniform_(layer.weight, 0.5, 1.5)
    nn.init.normal_(layer.bias)
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    return layer


@st.composite
def layer(draw, c, depth=0):
    """A layer for c channels that keeps their number; sizes may change."""
    local = [
        "conv", "relu", "norm", "act", "maxpool", "avgpool", "deconv", "upsample", "pad", "cut",
        "softmax", "scale", "gcn", "weigh",
    ]  # fmt: skip
    kinds = local + (["residual", "squeeze", "attention"] if depth == 0 else [])
    kind = draw(st.sampled_from(kinds))
    odd = st.sampled_from([1, 3, 5])
    small = st.integers(1, 3)
    if kind == "conv":
        kernel = (draw(odd), draw(odd))
        return nn.Conv2d(
            c,
            c,
            kernel,
            stride=(draw(small), draw(small)),
            padding=(draw(st.integers(0, 3)), draw(st.integers(0, 3))),
            dilation=draw(st.integers(1, 2)),
            groups=draw(st.sampled_from([1, c])),
        )
    if kind == "gcn":
        k = draw(odd)
        return nn.Sequential(
            nn.Conv2d(c, c, (k, 1), padding=(k // 2, 0)),
            nn.Conv2d(c, c, (1, k), padding=(0, k // 2)),
        )
    if kind == "deconv":
        kernel, stride = draw(st.integers(2, 4)), draw(small)
        return nn.ConvTranspose2d(
            c, c, kernel, stride, padding=draw(st.integers(0, kernel - 1)),
            output_padding=draw(st.integers(0, stride - 1)), groups=draw(st.sampled_from([1, c])),
        )  # fmt: skip
    if kind == "maxpool":
        kernel = draw(st.integers(2, 3))
        return nn.MaxPool2d(
            kernel, draw(small), padding=kernel // 2, ceil_mode=draw(st.booleans()),
            dilation=draw(st.integers(1, 2)),
        )  # fmt: skip
    if kind == "avgpool":
        kernel = draw(st.integers(2, 3))
        return nn.AvgPool2d(
            kernel, draw(small), padding=draw(st.integers(0, 1)),
            ceil_mode=draw(st.booleans()), count_include_pad=draw(st.booleans()),
        )  # fmt: skip
    if kind == "upsample":
        mode = draw(st.sampled_from(["nearest", "bilinear", "bicubic"]))
        corners = {} if mode == "nearest" else {"align_corners": draw(st.booleans())}
        if draw(st.booleans()):
            return nn.Upsample(scale_factor=draw(st.integers(2, 3)), mode=mode, **corners)
        return nn.Upsample(
            size=(draw(st.integers(3, 30)), draw(st.integers(3, 30))), mode=mode, **corners
        )
    if kind == "pad":
        padding = [draw(st.integers(0, 2)) for _ in range(4)]
        mode = draw(st.sampled_from(["constant", "replicate", "reflect", "one"]))
        if mode == "one":
            return Function(lambda x: F.pad(x, padding, value=1.0))
        return Function(lambda x: F.pad(x, padding, mode=mode))
    if kind == "cut":
        a, b, s = draw(st.integers(0, 2)), draw(st.integers(0, 2)), draw(st.integers(1, 2))
        return Function(lambda x: x[:, :, a:, ::s][..., : x.shape[-1] // s - b])
    if kind == "act":
        return draw(
            st.sampled_from(
                [nn.SiLU(), nn.Hardswish(), nn.Sigmoid(), nn.ReLU6(), nn.GELU(), nn.PReLU(c)]
            )
        )
    simple = {
        "relu": lambda: nn.ReLU(inplace=draw(st.booleans())),
        "norm": lambda: norm(c),
        "softmax": lambda: nn.Softmax(1),
        "scale": lambda: Function(lambda x: 2 * x - 0.5),
        "weigh": lambda: Function(
            lambda x: (
                x * torch.linspace(0.5, 2, x.shape[-1]) + torch.linspace(0, 1, x.shape[-2])[:, None]
            )
        ),
        "squeeze": lambda: Squeeze(c),
        "attention": Attention,
    }
    if kind in simple:
        return simple[kind]()
    # A branch that keeps the size, so that it can be added.
    how = draw(st.sampled_from(["add", "cat", "sub", "twice"]))
    inner = nn.Sequential(
        nn.Conv2d(c, c, 3, padding=1), draw(st.sampled_from([nn.ReLU(), nn.Identity()])), norm(c)
    )
    after = [nn.Conv2d(2 * c, c, 1)] if how == "cat" else []
    return nn.Sequential(Residual(inner, how), *after)


@st.composite
def networks(draw):
    """(model, image, score map): at least 3 rows and columns are left everywhere."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    c = 4
    image = torch.randn(3, draw(st.integers(9, 40)), draw(st.integers(9, 40)))
    layers = [nn.Conv2d(3, c, 3, stride=draw(st.integers(1, 2)), padding=1)]
    for _ in range(draw(st.integers(1, 5))):
        new = draw(layer(c))
        with torch.no_grad():
            try:
                size = nn.Sequential(*layers, new).eval()(image[None]).shape[-2:]
            except RuntimeError:  # too small for this layer
                continue
        if min(size) >= 3 and max(size) <= 90:
            layers.append(new)
    model = nn.Sequential(*layers, nn.Conv2d(c, 3, 1)).eval()
    with torch.no_grad():
        return model, image, model(image[None])[0]
