"""Pretraining: the recipe's transforms, top-k, exact resumption, and weights that a backbone takes."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import Dataset
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

from gcnlab.datasets import SHAPES, ImageNet, render
from gcnlab.datasets.miniature import make_imagenet
from gcnlab.datasets.normalization import Normalization
from gcnlab.datasets.single_shapes import SingleShapes
from gcnlab.datasets.transforms import (
    classification_evaluation_transform,
    classification_training_transform,
)
from gcnlab.evaluation import evaluate_classifier
from gcnlab.models import build_backbone, build_classifier
from gcnlab.training import (
    PRETRAINING,
    Classification,
    ClassificationData,
    DataConfig,
    ModelConfig,
    PretrainConfig,
    RunConfig,
    Segmentation,
    TrainingConfig,
    load_classifier,
    load_run,
    save_classifier,
    train,
)
from gcnlab.training.optimization import classification_loss

pytestmark = pytest.mark.slow

TINY = PretrainConfig(
    "mini_gcn",
    num_classes=6,
    data=ClassificationData("shapes", image_size=32, train_images=6, crop=32, resize=32),
    training=TrainingConfig(epochs=4, batch_size=2, seed=3, precision="fp32"),
)


class Stop(Exception):
    pass


def run(config=TINY, **options):
    return train(config, progress=False, device="cpu", **options)


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    return run(out=folder), folder


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    return make_imagenet(tmp_path_factory.mktemp("data"))


# --- Data


def assert_same_picture(ours, image):
    """`ours` is torchvision's preset of the decoded picture: the same pixels, up to a grey level where
    the two resizing routines round differently, in under 1 % of them."""
    preset = ImageClassification(
        crop_size=224
    )  # shorter side 256, as for torchvision's first weights
    std = torch.tensor(preset.std)[:, None, None]
    levels = (ours - preset(v2.functional.to_pil_image(image))).mul(255 * std).abs()
    assert ours.shape == (3, 224, 224)
    assert levels.max() < 1.001
    assert (levels > 0.001).float().mean() < 0.01


def test_the_scored_crop_is_torchvisions_preset_pixel_by_pixel(imagenet):
    raw = ImageNet("val", imagenet)
    config = PretrainConfig(num_classes=3, data=ClassificationData(root=imagenet.parent))
    scored = Classification(config).evaluation_set()
    for i in range(3):
        image, label = scored[i]
        assert_same_picture(image, raw[i][0])
        assert label == raw[i][1]


@pytest.mark.parametrize(("height", "width"), [(224, 500), (300, 101), (7, 9), (256, 256)])
def test_images_of_any_size_are_scored_at_224(height, width):
    image = v2.functional.to_image(torch.randint(0, 256, (3, height, width), dtype=torch.uint8))
    assert_same_picture(
        classification_evaluation_transform(Normalization(), 256, 224)(image), image
    )


def test_the_training_crop_is_torchvisions_reference():
    """references/classification: random resized crop, flip, normalised; from the same random numbers."""
    reference = v2.Compose(
        [
            v2.RandomResizedCrop(224, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    image = v2.functional.to_image(torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8))
    for seed in range(4):
        crops = []
        ours = classification_training_transform(
            Normalization(), 224, (0.08, 1.0), (3 / 4, 4 / 3), True
        )
        for transform in (ours, reference):
            torch.manual_seed(seed)
            crops.append(transform(image))
        # The same pixels; (x − mean) / std may be computed in another order.
        torch.testing.assert_close(
            *(crop.as_subclass(torch.Tensor) for crop in crops), rtol=0, atol=1e-5
        )


def test_a_single_shape_is_labelled_by_its_kind():
    dataset = SingleShapes("val", 40, image_size=64)
    kinds = set()
    for i in range(len(dataset)):
        image, label = dataset[i]
        (item,) = dataset.scene(i).objects
        assert image.shape == (3, 64, 64)
        assert dataset.classes[label] == SHAPES.names[item.kind]
        drawn = render(dataset.scene(i))[1].unique().tolist()
        assert drawn == [0, SHAPES.names.index(dataset.classes[label])]
        kinds.add(label)
    assert kinds == set(range(6))
    assert torch.equal(SingleShapes("val", 3, image_size=64)[2][0], dataset[2][0])
    assert not torch.equal(SingleShapes("train", 3, image_size=64)[2][0], dataset[2][0])
    with pytest.raises(IndexError, match="40"):
        dataset[40]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"split": "all"}, "split"),
        ({"length": 0}, "length"),
        ({"seed": -1}, "seed"),
        ({"image_size": 8}, "image_size"),
    ],
)
def test_a_wrong_single_shapes_is_named(options, word):
    with pytest.raises(ValueError, match=word):
        SingleShapes(**options)


# --- Scores


class Scored(Dataset):
    """Images whose pixels are their own scores."""

    def __init__(self, scores, labels):
        self.scores, self.labels = scores, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.scores[index][None, None], int(self.labels[index])


class Reads(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, images):
        return images[:, 0, 0] * self.weight


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_top_1_and_top_5_are_torchmetrics(batch_size):
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(50, 12, generator=generator)
    labels = torch.randint(0, 12, (50,), generator=generator)
    found = evaluate_classifier(Reads(), Scored(scores, labels), batch_size, progress=False)
    for k, value in ((1, found.top1), (5, found.top5)):
        oracle = MulticlassAccuracy(12, top_k=k, average="micro")
        assert value == pytest.approx(100 * oracle(scores, labels).item(), abs=1e-4)
    assert found.images == 50
    assert 0 < found.top1 < found.top5 < 100


def test_with_few_classes_top_5_is_all():
    scores = torch.eye(3)[[0, 1, 1, 2]]
    found = evaluate_classifier(Reads(), Scored(scores, torch.tensor([0, 1, 2, 0])), progress=False)
    assert (found.top1, found.top5) == (50.0, 100.0)


def test_scoring_leaves_the_network_in_its_mode(trained):
    model = trained[0].model.train()
    evaluate_classifier(model, SingleShapesTiny(), progress=False)
    assert all(m.training for m in model.modules())
    model.eval()


class SingleShapesTiny(Dataset):
    def __init__(self):
        self.inner = Classification(TINY).evaluation_set("val")

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return self.inner[index]


def test_the_loss_is_the_mean_over_images_with_smoothed_labels():
    logits, labels = torch.randn(4, 5), torch.tensor([0, 4, 2, 2])
    target = torch.full((4, 5), 0.1 / 5)
    target[range(4), labels] += 0.9
    by_hand = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(classification_loss(logits, labels, 0.1), by_hand)
    plain = torch.stack([-logits[i].log_softmax(0)[c] for i, c in enumerate(labels)]).mean()
    torch.testing.assert_close(classification_loss(logits, labels), plain)


# --- Training


def test_a_classifier_learns():
    """A run memorises six images of 32 pixels quickly."""
    data = replace(TINY.data, area=(1.0, 1.0), ratio=(1.0, 1.0), flip=False)
    config = replace(TINY, data=data, training=replace(TINY.training, epochs=20))
    losses = run(config).losses
    assert sum(losses[-6:]) < 0.5 * sum(losses[:6])


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_classifier_has_the_weights_of_an_uninterrupted_one_bit_for_bit(
    tmp_path, optimizer
):
    training = replace(
        TINY.training, optimizer=optimizer, schedule="step", learning_rate=0.01, checkpoint_steps=5
    )
    config = replace(TINY, training=training, label_smoothing=0.1)
    whole = run(config)

    def stop(step, steps, loss):
        if step == 8:
            raise Stop

    with pytest.raises(Stop):
        run(config, out=tmp_path, on_step=stop)
    torch.rand(17)
    resumed = run(config, out=tmp_path)
    assert_same_weights(whole.model, resumed.model)
    assert whole.losses == resumed.losses


def test_imagenet_trains(imagenet):
    config = replace(PRETRAINING["resnet50_gcn"][1].tiny(), backbone="mini", num_classes=3)
    config = replace(config, data=replace(config.data, root=imagenet.parent))
    trained = run(config)
    assert len(trained.losses) == 6  # 12 images, batches of 4, 2 epochs
    found = evaluate_classifier(
        trained.model, Classification(config).evaluation_set(), progress=False
    )
    assert found.images == 6


def test_another_number_of_classes_names_both(imagenet):
    config = PretrainConfig("mini", data=ClassificationData(root=imagenet.parent))
    with pytest.raises(ValueError, match=r"num_classes is 1000, but imagenet at .* has 3"):
        run(config)


def test_a_class_out_of_range_names_its_image():
    class Wrong(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return torch.zeros(3, 32, 32), 6

        def name(self, index):
            return f"picture-{index}"

    with pytest.raises(ValueError, match=r"picture-\d: class 6 is not in 0 … 5"):
        run(dataset=Wrong())


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: PretrainConfig("vgg"), "backbone"),
        (lambda: PretrainConfig(num_classes=1), "num_classes"),
        (lambda: PretrainConfig(label_smoothing=1.0), "label_smoothing"),
        (lambda: ClassificationData(crop=300), "data.resize"),
        (lambda: ClassificationData(area=(0.0, 1.0)), "data.area"),
        (lambda: ClassificationData(ratio=(2.0, 1.0)), "data.ratio"),
        (lambda: ClassificationData(image_size=8), "data.image_size"),
        (lambda: ClassificationData(train_images=0), "data.train_images"),
    ],
)
def test_a_bad_setting_is_named(make, name):
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        make()


@pytest.mark.parametrize("name", PRETRAINING)
def test_settings_survive_their_checkpoints(name):
    config = PRETRAINING[name][1]
    assert PretrainConfig.from_dict(config.to_dict()) == config
    assert config.backbone == name


def test_the_recipe_is_the_original_resnets():
    training = PRETRAINING["resnet50_gcn"][1].training
    assert (training.optimizer, training.learning_rate, training.batch_size) == ("sgd", 0.1, 256)
    assert (training.momentum, training.weight_decay, training.epochs) == (0.9, 1e-4, 90)
    assert training == PRETRAINING["resnet50"][1].training


# --- Weights


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_the_segmentation_networks_backbone_has_the_classifiers_weights(trained, tmp_path, ending):
    path = save_classifier(trained[0].model, tmp_path / f"weights.{ending}")
    config = RunConfig(
        ModelConfig("mini_gcn", kernel_size=3, weights=str(path)),
        DataConfig(image_size=32, train_images=2),
        TrainingConfig(epochs=1, batch_size=2),
    )
    classifier = trained[0].model.state_dict()
    backbone = Segmentation(config).build_model().backbone.state_dict()
    assert set(classifier) - set(backbone) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(backbone[key], classifier[key]) for key in backbone)
    assert len(run(config).losses) == 1  # and trains


def test_the_backbone_gives_the_features_that_the_classifier_reads(trained, tmp_path):
    path = save_classifier(trained[0].model, tmp_path / "weights.safetensors")
    backbone, model = build_backbone("mini_gcn", path).eval(), trained[0].model.eval()
    image = torch.randn(2, 3, 40, 48)
    with torch.no_grad():
        by_features = model.fc(backbone(image)[-1].mean((2, 3)))
        torch.testing.assert_close(by_features, model(image))


def test_weights_of_another_backbone_are_refused(trained, tmp_path):
    path = save_classifier(trained[0].model, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth: these weights belong to another network"):
        build_backbone("mini", path)
    with pytest.raises(ValueError, match=r"weights\.bin"):
        save_classifier(trained[0].model, tmp_path / "weights.bin")


def test_a_classifier_comes_back_and_is_no_segmentation_network(trained):
    model, folder = trained
    loaded = load_classifier(folder, "cpu")
    assert loaded.config == TINY
    assert_same_weights(loaded.model, model.model)
    save_classifier(model.model, folder / "weights.safetensors")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: a run of classification.*weights\.safe"):
        load_run(folder, "cpu")
    segmentation = RunConfig(
        ModelConfig("mini_gcn", kernel_size=3), DataConfig(image_size=32, train_images=2)
    )
    with pytest.raises(ValueError, match="a run of classification, not of segmentation"):
        run(segmentation, out=folder)


@pytest.mark.parametrize("name", ["mini", "mini_gcn", "resnet18", "resnet50_gcn"])
def test_every_kind_of_backbone_is_a_classifier(name):
    model = build_classifier(name, num_classes=7).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    with pytest.raises(ValueError, match="vgg"):
        build_classifier("vgg")


def test_training_images_are_drawn_once_and_augmented_each_time(monkeypatch):
    """With the crops of ImageNet, which change images most."""
    data = replace(TINY.data, area=(0.08, 1.0), ratio=(0.75, 1.33))
    task = Classification(replace(TINY, data=data))
    crop = classification_training_transform(
        task.normalization, data.crop, data.area, data.ratio, data.flip
    )
    kept, plain = task.training_set(), task.open("train")
    drawn = [plain[index] for index in range(len(plain))]
    for epoch in range(2):
        for index, (image, label) in enumerate(drawn):
            torch.manual_seed(10 * epoch + index)
            ours = kept[index]
            torch.manual_seed(10 * epoch + index)
            assert torch.equal(ours[0], crop(image))
            assert ours[1] == label
        monkeypatch.setattr(SingleShapes, "scene", None)  # nothing can be drawn any more
