"""The Python code that computes what one picture of an explorer shows."""

from gcnlab.widgets.question import Question

FUNCTIONS = {
    "exact": ("gcnlab.valid_field", ("target", "window", "stride", "fill", "quantity")),
    "drilldown": (
        "gcnlab.valid_field",
        ("target", "window", "stride", "fill", "quantity", "agreement"),
    ),
    "gradient": ("gcnlab.gradient_field", ("target",)),
    "integrated": ("receptive.integrated_gradients", ("target", "fill")),
    "captum": ("receptive.captum_occlusion", ("target", "window", "stride", "fill")),
}
"""Method → the function that computes its field, and the settings that it takes."""
DEFAULTS = {
    "target": None,
    "window": 32,
    "stride": 16,
    "fill": 0.0,
    "quantity": "logit",
    "agreement": 0.95,
}
"""The default values of these settings."""


def field_code(
    question: Question,
    method: str,
    size: tuple[int, int],
    map_size: tuple[int, int] | None,
    channels: int = 3,
) -> str:
    """The code that computes a field and its region, for `model` and `image`.

    Args:
        question: the settings.
        method: one of the question's methods.
        size: (height, width) of the image.
        map_size: the size of the score map if it differs, else None.
        channels: of the image.

    Returns:
        Lines of Python for a network `model` and its input `image`, in which "{pixel}", "{threshold}" and "{rule}" stand for these values of the
        question, since the browser knows them best.
    """
    lines, model, unit = ["import gcnlab", "from gcnlab import receptive"], "model", "{pixel}"
    if map_size is not None:
        lines.append("from gcnlab.receptive.unit import unit_at")
        unit = f"unit_at({unit}, {size}, {map_size})"
    if question.layer is not None:
        lines.append(f"layer = receptive.HiddenLayer(model, {question.layer!r})")
        model = "layer"
    if method == "theoretical":
        given = "" if channels == 3 else f", channels={channels}"
        lines.append(f"field = gcnlab.theoretical_field({model}, {size}{given})")
        return "\n".join([*lines, f"top, bottom, left, right = field.box({unit})"])
    function, settings = FUNCTIONS[method]
    given = [_given(question, method, name) for name in settings]
    if method == "drilldown":  # it follows the edge of the region
        given += ['method="drilldown"', "threshold={threshold}", 'rule="{rule}"']
    lines.append(f"field = {function}({', '.join([model, 'image', unit, *filter(None, given)])})")
    valid = function == "gcnlab.valid_field"
    region = "field.region(" if valid else "receptive.region(field, "
    return "\n".join([*lines, f'region = {region}{{threshold}}, "{{rule}}")'])


def _given(question: Question, method: str, name: str) -> str:
    """A setting as an argument; empty if it has its default value."""
    value = getattr(question, name)
    if value == DEFAULTS[name]:
        return ""
    if (method, name) != ("integrated", "fill"):
        return f"{name}={value!r}"
    window = (question.window, question.window)
    return f"baseline=receptive.fill_image(image, {value!r}, {window})"
