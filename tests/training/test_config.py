import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

from gcnlab.datasets import (
    Cityscapes,
    VOCSegmentation,
    cityscapes_train_with_coarse,
    voc_sbd_coco_train,
    voc_sbd_train,
)
from gcnlab.datasets.miniature import make_miniatures
from gcnlab.training import (
    PRESETS,
    DataConfig,
    ModelConfig,
    PretrainConfig,
    RunConfig,
    TrainingConfig,
    open_dataset,
)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: ModelConfig(backbone="vgg"), "model.backbone"),
        (lambda: ModelConfig(kernel_size=4), "model.kernel_size"),
        (lambda: ModelConfig(kernel_size=(3, 5)), "model.kernel_size"),
        (lambda: ModelConfig(kernel_size=(3, 5, 6, 7)), "model.kernel_size"),
        (lambda: DataConfig(image_size=8), "data.image_size"),
        (lambda: DataConfig(train_images=0), "data.train_images"),
        (lambda: DataConfig(crop=(0, 5)), "data.crop"),
        (lambda: DataConfig(scale=(2.0, 1.0)), "data.scale"),
        (lambda: DataConfig(color_jitter=1.5), "data.color_jitter"),
        (lambda: TrainingConfig(epochs=0), "training.epochs"),
        (lambda: TrainingConfig(batch_size=0), "training.batch_size"),
        (lambda: TrainingConfig(learning_rate=0.0), "training.learning_rate"),
        (lambda: TrainingConfig(momentum=1.0), "training.momentum"),
        (lambda: TrainingConfig(warmup=1.0), "training.warmup"),
        (lambda: TrainingConfig(clip_norm=0.0), "training.clip_norm"),
        (lambda: RunConfig(data=DataConfig(normalization="weights")), "data.normalization"),
    ],
)
def test_a_bad_setting_is_named(make, name):
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        make()


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_json(name):
    config = PRESETS[name][1]
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_papers_sgd_is_a_preset():
    training = PRESETS["paper"][1].training
    assert (training.optimizer, training.batch_size) == ("sgd", 1)
    assert (training.momentum, training.weight_decay) == (0.99, 0.0005)
    assert PRESETS["paper"][1].model.frozen_norm


def test_every_setting_is_explained_and_frozen():
    """Help texts are the strings below the fields."""
    import inspect

    for cls in (ModelConfig, DataConfig, TrainingConfig):
        source = inspect.getsource(cls)
        for field in dataclasses.fields(cls):
            after = source.split(f"    {field.name}: ", 1)[1].split("\n", 1)[1].lstrip()
            assert after.startswith('"""'), f"{cls.__name__}.{field.name}"
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingConfig().epochs = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_miniatures(tmp_path_factory.mktemp("data"), ["voc", "sbd", "coco", "cityscapes"])


@pytest.mark.parametrize(
    ("name", "own", "classes"),
    [
        ("voc", lambda: VOCSegmentation("train"), 21),
        ("voc+sbd", voc_sbd_train, 21),
        ("voc+sbd+coco", voc_sbd_coco_train, 21),
        ("cityscapes", lambda: Cityscapes("train"), 19),
        ("cityscapes+coarse", cityscapes_train_with_coarse, 19),
    ],
)
def test_a_data_set_is_known_by_its_name(root, monkeypatch, name, own, classes):
    """From the folder that is given, and from the one that GCNLAB_DATA names."""
    given = open_dataset(DataConfig(name, root), "train")
    monkeypatch.setenv("GCNLAB_DATA", str(root))
    found, expected = open_dataset(DataConfig(name), "train"), own()
    assert DataConfig(name).labels.num_classes == classes == expected.labels.num_classes
    for dataset in (given, found):
        assert len(dataset) == len(expected)
        names = [dataset.name(i) for i in range(len(dataset))]
        assert names == [expected.name(i) for i in range(len(expected))]


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_is_joined_is_trained_on_and_not_scored_on(root, split):
    for names in (("voc", "voc+sbd", "voc+sbd+coco"), ("cityscapes", "cityscapes+coarse")):
        sets = [open_dataset(DataConfig(name, root), split) for name in names]
        assert len({tuple(s.name(i) for i in range(len(s))) for s in sets}) == 1


def test_the_root_of_camvid_holds_camvid(tmp_path):
    for folder, mode in (("train", "RGB"), ("val", "RGB"), ("valannot", "L")):
        (tmp_path / "camvid" / folder).mkdir(parents=True)
        Image.new(mode, (48, 36)).save(tmp_path / "camvid" / folder / "0.png")
    assert len(open_dataset(DataConfig("camvid", tmp_path), "val"))
    with pytest.raises(FileNotFoundError, match="seems to be the folder of CamVid itself"):
        open_dataset(DataConfig("camvid", tmp_path / "camvid"), "val")


def test_the_settings_of_every_committed_run_load():
    """A recorded setting keeps its name and value."""
    data = Path(__file__).parents[2] / "data"
    files = [*data.glob("results/**/result.json"), *data.glob("checkpoints/*/card.json")]
    assert len(files) > 150
    for file in files:
        recorded = json.loads(file.read_text())["settings"]
        kind = PretrainConfig if "num_classes" in recorded else RunConfig
        loaded = kind.from_dict(recorded).to_dict()
        for group in ("model", "data", "training"):
            for name, value in recorded.get(group, {}).items():
                if (group, name) != ("model", "weights"):
                    assert loaded[group][name] == value, (file, group, name)


def test_the_recorded_path_of_the_pretrained_backbone_is_its_name():
    """Committed results of the preset quick hold the path."""
    earlier = ModelConfig(weights="data/checkpoints/mini-seed0/weights.safetensors")
    assert earlier == ModelConfig(weights="mini-seed0") == PRESETS["quick"][1].model


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("camvid", "camvid"),
        ("voc", "VOCdevkit/VOC2012"),
        ("voc+sbd", "benchmark_RELEASE"),
        ("voc+sbd+coco", "coco"),
        ("cityscapes+coarse", "cityscapes"),
    ],
)
def test_missing_data_are_named(root, tmp_path, name, folder):
    for link in root.iterdir():
        if link.name != folder.split("/")[0]:
            (tmp_path / link.name).symlink_to(link)
    with pytest.raises(FileNotFoundError, match=str(tmp_path / folder)):
        open_dataset(DataConfig(name, tmp_path), "train")
