"""Built-in networks have the published sizes and torchvision's keys; other names end in a model or in a sentence."""

import sys
import types

import pytest
import torch
from torch import nn

from expunge.batch import Batch, Predictor
from expunge.errors import ConfigError, MissingExtraError, ModelError
from expunge.python_path import import_object
from expunge.registry import list_entries
from expunge.tasks.build import build_model, check_model

SIZES = {"resnet18": 11_173_962, "resnet20": 272_474, "resnet8": 78_042, "vgg16_bn": 14_728_266, "small_cnn": 24_346}


def test_every_built_in_is_registered_and_sized_here():
    assert set(list_entries("models")) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_weights_and_logits(name):
    model = build_model(name, classes=10, channels=3)
    assert sum(weight.numel() for weight in model.parameters()) == SIZES[name]
    narrow = build_model(name, classes=4, channels=1).eval()
    with torch.no_grad():
        for side in (8, 28):
            assert narrow(torch.randn(2, 1, side, side)).shape == (2, 4)


def test_resnet18_has_torchvisions_keys():
    keys = build_model("resnet18", 10, 3).state_dict().keys()
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    convolutions = ["conv1", *(f"{block}.conv{n}" for block in blocks for n in (1, 2))]
    shortcuts = [f"layer{stage}.0.downsample" for stage in (2, 3, 4)]
    norms = [name.replace("conv", "bn") for name in convolutions] + [f"{name}.1" for name in shortcuts]
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {f"{name}.weight" for name in convolutions} | {f"{name}.0.weight" for name in shortcuts}
    expected |= {f"{name}.{part}" for name in norms for part in parts} | {"fc.weight", "fc.bias"}
    assert set(keys) == expected


def test_vgg_has_torchvisions_feature_keys():
    model = build_model("vgg16_bn", 10, 3)
    convolutions = [int(name.split(".")[1]) for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    assert convolutions == [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]


def test_the_stem_keeps_the_resolution_and_later_stages_halve_it():
    model, seen = build_model("resnet18", 10, 3).eval(), []
    for stage in ("conv1", "layer1", "layer2", "layer3", "layer4"):
        model.get_submodule(stage).register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-1]))
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    assert seen == [32, 32, 16, 8, 4]


def test_convolutions_start_with_the_variance_of_he():
    torch.manual_seed(0)
    weight = build_model("resnet18", 10, 3).layer3[1].conv2.weight
    assert weight.var().item() == pytest.approx(2 / (256 * 9), rel=0.01)


def test_a_block_is_its_formula():
    torch.manual_seed(0)
    block = build_model("resnet8", 10, 3).layer2[0].eval()
    x = torch.randn(2, 16, 6, 6)
    inner = torch.relu(block.bn1(torch.conv2d(x, block.conv1.weight, stride=2, padding=1)))
    residual = block.bn2(torch.conv2d(inner, block.conv2.weight, padding=1))
    shortcut = block.downsample[1](torch.conv2d(x, block.downsample[0].weight, stride=2))
    torch.testing.assert_close(block(x), torch.relu(residual + shortcut))


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """A module of the user's in the current folder, importable only from there."""
    (tmp_path / "own_neighbor.py").write_text("HIDDEN = 6\n")
    (tmp_path / "own_models.py").write_text(
        "from torch import nn\n"
        "def net(classes, *, hidden=4):\n"
        "    import own_neighbor\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(own_neighbor.HIDDEN), nn.Linear(hidden, classes))\n"
        "def fixed(): return nn.Linear(3, 2)\n"
        "def anything(**options): return nn.Linear(options['channels'], options['classes'])\n"
        "def wrong(): return 'a model'\n"
        "def broken(): raise KeyError('weights')\n"
        "number = 3\n"
        "class Net(nn.Linear):\n"
        "    def __init__(self, classes=2): super().__init__(5, classes)\n"
    )
    (tmp_path / "own_syntax.py").write_text("def broken(:\n")
    (tmp_path / "own_import.py").write_text("import no_such_dependency\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield "own_models"
    for name in ("own_models", "own_neighbor", "own_syntax", "own_import"):
        sys.modules.pop(name, None)


def test_a_factory_gets_the_sizes_that_it_names_and_the_options(user_module):
    net = build_model("own_models:net", classes=7, channels=1, hidden=6)
    assert net(torch.zeros(2, 1, 3, 3)).shape == (2, 7)
    assert build_model("own_models:fixed", classes=7, channels=1).out_features == 2
    assert build_model("own_models:Net", classes=7, channels=1).out_features == 7
    assert build_model("own_models:anything", classes=7, channels=4).weight.shape == (7, 4)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("own_models.net", ConfigError, "put a colon before the name"),
        ("own_models:", ConfigError, "put a colon before the name"),
        ("own_modles:net", ConfigError, "that 'own_modles' is not there"),
        ("own_import:net", ConfigError, "that 'no_such_dependency' is not there"),
        ("own_syntax:net", ConfigError, "SyntaxError"),
        ("own_models:nett", ConfigError, "'nett' in the module 'own_models'"),
        ("own_models:number", ModelError, "a function that makes a model, but found int"),
        ("own_models:wrong", ModelError, "to give an nn.Module, but found str"),
        ("own_models:broken", ModelError, "KeyError"),
        ("resnet19", ConfigError, "did you mean 'resnet18'"),
        ("timm/resnet18", MissingExtraError, r"pip install 'expunge\[timm\]'"),
        ("transformers/vit", MissingExtraError, r"pip install 'expunge\[transformers\]'"),
    ],
)
def test_names_that_are_no_model_are_sentences(user_module, monkeypatch, name, error, message):
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
    for loaded in [one for one in sys.modules if one.partition(".")[0] in {"timm", "transformers"}]:
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(error, match=message):
        build_model(name, classes=3, channels=1)


class NotInstalled:
    """Import machinery that knows no timm and no transformers."""

    def find_spec(self, name, path=None, target=None):
        if name in {"timm", "transformers"}:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


@pytest.mark.parametrize(
    "failure",
    [RuntimeError("operator torchvision::nms does not exist"), ModuleNotFoundError("No module", name="torchvision")],
)
def test_a_broken_installation_of_an_extra_is_a_sentence(monkeypatch, failure):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "timm":
                raise failure

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ModelError, match="torch, torchvision and timm must fit each other"):
        build_model("timm/resnet18", classes=3, channels=1)


def test_timm_is_asked_for_the_right_head_and_nothing_is_downloaded(monkeypatch):
    timm = types.ModuleType("timm")
    timm.is_model = lambda name: name == "tiny"
    timm.create_model = lambda name, num_classes, in_chans: nn.Linear(in_chans, num_classes)
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert build_model("timm/tiny", classes=3, channels=2).weight.shape == (3, 2)
    with pytest.raises(ConfigError, match="the name of a timm model"):
        build_model("timm/giant", classes=3, channels=2)
    for option in ("pretrained", "checkpoint_path"):
        with pytest.raises(ConfigError, match="local files"):
            build_model("timm/tiny", classes=3, channels=2, **{option: "yes"})


def test_an_unknown_option_of_a_built_in_is_a_sentence():
    with pytest.raises(ConfigError, match="widht"):
        build_model("resnet8", classes=3, channels=1, widht=8)


def test_the_current_folder_is_found_once(user_module, tmp_path):
    import_object("own_models:fixed")
    import_object("own_models:fixed")
    assert sys.path.count(str(tmp_path)) == 1


def example(labels=(0, 1, 2, 0)):
    torch.manual_seed(0)
    return Batch(torch.randn(4, 1, 8, 8), torch.tensor(labels), torch.arange(4))


def checked(model, classes=3, batch=None, logits=None):
    check_model(model, classes, Predictor(model, logits), batch or example())


def test_a_sound_model_passes_and_is_as_before():
    model = build_model("small_cnn", classes=3, channels=1).train()
    model.bn2.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checked(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert not model.bn2.training
    assert all(weight.grad is None for weight in model.parameters())


class Answer(nn.Module):
    """Gives what it was made with, whatever it is asked."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.weight = answer, nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return self.answer


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (build_model("small_cnn", 3, 1).requires_grad_(False), "none that requires a gradient"),
        (build_model("small_cnn", 5, 1), r"found \(4, 5\): build the model with as many classes"),
        (build_model("small_cnn", 3, 3), r"takes inputs \(4, 1, 8, 8\), but found RuntimeError"),
        (nn.Sequential(build_model("small_cnn", 3, 1), nn.Softmax(1)), "take the softmax off"),
        (Answer({"scores": torch.zeros(4, 3)}), "found dict: pass logits="),
        (Answer(torch.zeros(4, 3, dtype=torch.int64)), "found torch.int64: pass logits="),
        (Answer(torch.zeros(3, 4)), r"found \(3, 4\)"),
        (Answer(torch.zeros(4)), r"found \(4, 2\)"),  # one logit counts as two
    ],
)
def test_a_model_that_cannot_be_unlearned_is_a_sentence(model, message):
    with pytest.raises(ModelError, match=message):
        checked(model)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_labels_outside_the_head_are_a_sentence(wrong):
    with pytest.raises(ModelError, match=f"labels from 0 to 2, but found the label {wrong}"):
        checked(build_model("small_cnn", 3, 1), batch=example((0, 1, 2, wrong)))


def test_zero_logits_are_no_probabilities_and_an_adapter_helps():
    checked(Answer(torch.zeros(4, 3)))
    checked(Answer({"scores": torch.zeros(4, 3)}), logits=lambda output: output["scores"])


def test_transformers_by_type_and_by_local_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = build_model("transformers/vit", classes=3, channels=1, image_size=8, patch_size=4, **tiny)
    checked(model)
    model.save_pretrained(tmp_path)
    again = build_model(f"transformers/{tmp_path}", classes=3, channels=1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    with pytest.raises(ModelError, match="to build"):
        build_model(f"transformers/{tmp_path}", classes=4, channels=1)
    with pytest.raises(ConfigError, match="'widht'"):
        build_model("transformers/vit", classes=3, channels=1, widht=8)
    with pytest.raises(ConfigError, match="a local folder or a model type"):
        build_model("transformers/somebody/model", classes=3, channels=1)
