import base64
import io
import re
import time

import numpy as np
import pytest
import torch
from models import Broken, NotFinite, Quarter, Slow, Summing, integer_image
from PIL import Image

from gcnlab.datasets import SHAPES
from gcnlab.receptive import gradient_field, region, valid_field
from gcnlab.widgets import VRFExplorer
from gcnlab.widgets.painting import edges, paint, svg_path

pytestmark = pytest.mark.slow

IMAGE = integer_image()
SHOWN = (IMAGE * 60).byte()


@pytest.fixture
def explore():
    """VRFExplorer on the integer image; closed at the end."""
    made = []

    def make(*models, **options):
        models = {f"model {i}": m for i, m in enumerate(models)}
        options = {"picture": SHOWN, "window": 8, "stride": 4, "pixel": (20, 30)} | options
        made.append(VRFExplorer(models, IMAGE, **options))
        return made[-1]

    yield make
    for explorer in made:
        explorer.close()


def raster(picture):
    return np.array(Image.open(io.BytesIO(picture.png)))


def expected(model, pixel, threshold=0.8, rule="mass"):
    field = valid_field(model, IMAGE, pixel, window=8, stride=4, method="plain")
    return field, field.region(threshold, rule)


def test_shows_the_valid_field_of_every_model(explore):
    models = Summing(3), Summing(9)
    explorer = explore(*models).wait()
    for model, picture in zip(models, explorer.pictures.values()):
        field, area = expected(model, (20, 30))
        assert (raster(picture) == paint(SHOWN, field.discrepancy, area)).all()
        assert picture.region == svg_path(edges(area))
        assert picture.pixel == [20, 30]
        assert dict(picture.facts)["radius"] == f"{field.radius():.0f} px"
        assert not picture.busy
        assert picture.error == ""


@pytest.mark.parametrize("method", ["exact", "drilldown", "gradient", "theoretical"])
def test_every_method_has_its_region(explore, method):
    model = Summing(5)
    explorer = explore(model, method=method, agreement=1.0).wait()
    answer = explorer.answers["model 0"]
    if method == "gradient":
        assert (answer.region == region(gradient_field(model, IMAGE, (20, 30)))).all()
    elif method == "theoretical":
        wanted = torch.zeros(48, 64, dtype=torch.bool)
        wanted[15:26, 25:36] = True
        assert (answer.region == wanted).all()
    else:
        assert (answer.region == expected(model, (20, 30))[1]).all()


@pytest.mark.parametrize("method", ["exact", "drilldown", "gradient", "theoretical"])
@pytest.mark.parametrize("pixel", [(10, 10), (0, 63), (47, 5)])
def test_a_map_of_another_size_is_asked_at_the_unit_that_holds_the_pixel(explore, method, pixel):
    explorer = explore(Quarter(), method=method, pixel=pixel, window=4, stride=4).wait()
    answer, picture = explorer.answers["model 0"], explorer.pictures["model 0"]
    top, left = (p // 4 * 4 for p in pixel)
    wanted = torch.zeros(48, 64, dtype=torch.bool)
    wanted[top : top + 4, left : left + 4] = True
    assert torch.equal(answer.region, wanted)
    assert answer.logit == IMAGE[:, top : top + 4, left : left + 4].sum().item()
    assert dict(picture.facts)["unit"] == f"({top // 4}, {left // 4}) of 12×16"
    assert picture.pixel == list(pixel)
    assert picture.error == ""


def test_a_map_of_the_images_size_is_asked_without_a_word(explore):
    explorer = explore(Summing(3)).wait()
    assert "unit" not in dict(explorer.pictures["model 0"].facts)


def test_the_network_may_be_trained_while_the_explorer_works(explore):
    """The explorer has a copy: the caller's network is unchanged, and later changes have no effect."""
    model = Slow(2).train()
    explorer = explore(model, window=16, stride=16)
    assert model.training
    with torch.no_grad():
        model.conv.weight[0] = 5
    explorer.wait()
    assert model.training
    assert (model.conv.weight[0] == 5).all()
    field = valid_field(Slow(2), IMAGE, (20, 30), window=16, stride=16)
    assert torch.equal(explorer.answers["model 0"].field, field.discrepancy)


def test_a_selected_pixel_is_asked_of_all_models(explore):
    explorer = explore(Summing(3), Summing(9)).wait()
    first, second = explorer.pictures.values()
    first.set_state({"pixel": [5, 60]})  # as the browser does
    explorer.wait()
    assert explorer.question.pixel == (5, 60)
    assert second.pixel == [5, 60]
    assert (explorer.answers["model 1"].region == expected(Summing(9), (5, 60))[1]).all()


def test_a_click_that_was_overtaken_by_a_later_one_is_not_followed(explore):
    explorer = explore(Summing(3), Summing(9)).wait()
    first, second = explorer.pictures.values()
    second.set_state({"pixel": [5, 60], "moment": 2000.0})
    first.set_state({"pixel": [9, 9], "moment": 1000.0})
    assert explorer.question.pixel == (5, 60)
    assert first.pixel == second.pixel == [5, 60]
    first.set_state({"pixel": [9, 9], "moment": 3000.0})
    assert explorer.question.pixel == (9, 9)


def test_controls_change_the_question_and_follow_it(explore):
    explorer = explore(Summing(3)).wait()
    fields = explorer._controls.fields
    fields["threshold"].value = 0.5
    fields["target"].value = 1
    fields["stride"].value = 12  # pushes the occluder
    explorer.wait()
    assert explorer.question.threshold == 0.5
    assert explorer.question.target == 1
    assert (explorer.question.stride, explorer.question.window) == (12, 12)
    explorer.ask(method="gradient", target=None)
    assert fields["method"].value == "gradient"
    assert fields["target"].label == "as predicted"
    assert fields["window"].disabled


def test_a_new_rule_gets_its_own_threshold(explore):
    model = Summing(3)
    explorer = explore(model).wait()
    fields = explorer._controls.fields
    assert (fields["rule"].value, fields["threshold"].value) == ("mass", 0.8)
    fields["rule"].value = "maximum"
    explorer.wait()
    assert (explorer.question.threshold, fields["threshold"].value) == (0.2, 0.2)
    wanted = expected(model, (20, 30), 0.2, "maximum")[1]
    assert (explorer.answers["model 0"].region == wanted).all()
    explorer.ask(threshold=0.4).wait()
    assert explorer.question.rule == "maximum"
    explorer.ask(rule="mass", threshold=0.5).wait()
    wanted = expected(model, (20, 30), 0.5)[1]
    assert (explorer.answers["model 0"].region == wanted).all()


def test_a_threshold_alone_is_a_share_of_the_maximum(explore):
    explorer = explore(Summing(3), threshold=0.4).wait()
    assert explorer.question.rule == "maximum"
    assert dict(explorer.pictures["model 0"].facts)["region"] == "≥ 40 % of the maximum"


@pytest.mark.parametrize("quantity", ["margin", "probability"])
def test_the_quantity_is_that_of_the_field(explore, quantity):
    model = Summing(3)
    explorer = explore(model).wait()
    explorer._controls.fields["quantity"].value = quantity
    explorer.wait()
    field = valid_field(
        model, IMAGE, (20, 30), window=8, stride=4, method="plain", quantity=quantity
    )
    answer, facts = explorer.answers["model 0"], dict(explorer.pictures["model 0"].facts)
    torch.testing.assert_close(answer.field, field.discrepancy, atol=1e-5, rtol=1e-4)
    assert facts["field of"] == quantity
    # The network is so certain that its probability is 1 under every window: a field of zeros.
    zero = quantity == "probability"
    assert bool(field.discrepancy.any()) != zero
    assert facts.get("radius") == (None if zero else f"{field.radius():.0f} px")
    explorer.ask(method="gradient").wait()  # of the logit
    assert "field of" not in dict(explorer.pictures["model 0"].facts)


def test_another_view_of_the_same_field_computes_nothing(explore):
    explorer = explore(Summing(3)).wait()
    generation = explorer.pictures["model 0"].generation
    explorer.ask(view="heat")
    field = explorer.answers["model 0"].field
    assert explorer.idle
    assert (raster(explorer.pictures["model 0"]) == paint(SHOWN, field, None, "heat")).all()
    assert explorer.wait().pictures["model 0"].generation == generation


def test_coverage_of_the_object_under_the_pixel(explore):
    labels = torch.zeros(48, 64, dtype=torch.uint8)
    labels[10:40, 20:50] = 2
    labels[0:4, 0:4] = 2
    explorer = explore(Summing(3), labels=labels, classes=SHAPES, target=1).wait()
    area = explorer.answers["model 0"].region
    assert explorer.coverage("model 0") == area[10:40, 20:50].float().mean().item()
    facts = dict(explorer.pictures["model 0"].facts)
    assert facts["class"] == "disc"
    assert facts["object"] == f"{explorer.coverage('model 0'):.0%} covered"
    assert facts["region"] == "80 % of the mass"
    assert "radius" not in facts  # no window changes this class: its logit is always 0
    assert explorer._controls.where.value == "row 20, column 30: square"
    explorer.ask(pixel=(45, 5)).wait()
    assert explorer.coverage("model 0") is None
    assert explorer.pictures["model 0"].item == ""


def test_a_burst_of_clicks_ends_on_the_last(explore):
    model = Slow(2)
    explorer = explore(model, window=16, stride=16).wait()
    picture = explorer.pictures["model 0"]
    shown, asked = [], [explorer._worker.generation]
    picture.observe(lambda change: shown.append((asked[-1], change["new"])), "generation")
    for click in range(50):
        with explorer.lock:
            picture.set_state({"pixel": [click % 48, (3 * click) % 64]})
            asked.append(explorer._worker.generation)
        time.sleep(0.003)
    explorer.wait()
    assert picture.generation == explorer._worker.generation == 51
    assert explorer.answers["model 0"].question.pixel == (49 % 48, 147 % 64)
    assert all(result == latest for latest, result in shown), "an old result was shown"
    field = valid_field(model, IMAGE, (49 % 48, 147 % 64), window=16, stride=16)
    assert (raster(picture) == paint(SHOWN, field.discrepancy, field.region())).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel": (48, 0)}, "outside the 48×64 image"),
        ({"window": 49}, "window 49×49 is larger than the image, 48×64"),
        ({"window": 4, "stride": 5}, "it skips pixels"),
        ({"target": 2}, "target 2 is outside the classes 0 … 1"),
        ({"threshold": 0}, "threshold must be in (0, 1]"),
    ],
)
def test_errors_are_shown_and_the_next_question_is_answered(explore, change, message):
    explorer = explore(Summing(3)).wait()
    before = {name: getattr(explorer.question, name) for name in change}
    picture = explorer.ask(**change).wait().pictures["model 0"]
    assert message in picture.error
    assert picture.region == ""
    assert (raster(picture) == paint(SHOWN)).all()
    explorer.ask(**before).wait()
    assert picture.error == ""
    assert (explorer.answers["model 0"].region == expected(Summing(3), (20, 30))[1]).all()


def test_one_models_error_does_not_hinder_the_other(explore):
    explorer = explore(Broken(), Summing(3), NotFinite(3)).wait()
    broken, good, nan = explorer.pictures.values()
    assert "Broken must return logits (batch, classes, rows, columns)" in broken.error
    assert "NaN" in nan.error
    assert good.error == ""
    assert set(explorer.answers) == {"model 1"}


def test_what_could_not_be_reused_is_told(explore):
    explorer = explore(Slow(2), window=16, stride=16).wait()
    assert "every window runs the whole network" in explorer.pictures["model 0"].note


def test_bad_questions_are_refused(explore):
    explorer = explore(Summing(3), classes=("sum", "nothing"))
    with pytest.raises(ValueError, match="unknown method 'magic'; choose exact"):
        explorer.ask(method="magic")
    with pytest.raises(ValueError, match="unknown class 'cat'; choose sum, nothing"):
        explorer.ask(target="cat")
    assert explorer.ask(target="nothing").wait().question.target == 1
    with pytest.raises(ValueError, match="models is empty"):
        VRFExplorer({}, IMAGE)
    with pytest.raises(ValueError, match="labels has 3×3 pixels, but the image has 48×64"):
        explore(Summing(3), labels=torch.zeros(3, 3))


def test_the_first_question_may_name_the_class(explore):
    names = {"classes": ("sum", "nothing")}
    assert explore(Summing(3), target="nothing", **names).wait().question.target == 1
    with pytest.raises(ValueError, match="unknown class 'cat'; choose sum, nothing"):
        explore(Summing(3), target="cat", **names)
    with pytest.raises(ValueError, match="unknown class 'sum'; give its id"):
        explore(Summing(3), target="sum")


def test_close_stops_the_thread(explore):
    explorer = explore(Slow(2))
    explorer.close()
    assert not explorer._worker.alive


def test_a_static_picture_stands_beside_the_widget(explore):
    explorer = explore(Summing(3)).wait()
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    alt, data = re.fullmatch(r'<img alt="(.*)" src="data:.*,(.*)">', bundle["text/html"]).groups()
    width, height = Image.open(io.BytesIO(base64.b64decode(data))).size
    assert width > 100
    assert height > 100
    (title,) = explorer.pictures
    row, column = explorer.question.pixel
    assert alt.startswith(f"{title} at row {row}, column {column}: class: ")
    assert "% covered" in alt
