"""Settings have types and ranges; errors name the setting, what it takes, and the nearest name that exists."""

from __future__ import annotations

import pytest

from medups.data.formats import FORMATS
from medups.errors import InputError
from medups.settings.compose import compose
from medups.settings.fields import walk
from medups.settings.listing import setting_lines
from medups.settings.schema import Settings
from medups.upsamplers import list_upsamplers
from medups.weights.load import LAYOUTS
from tests.cli.commands import medups


def settings_of(*overrides):
    return compose(["data.root=x", *overrides])


@pytest.mark.parametrize(
    ("override", "value"),
    [("no", False), ("false", False), ("off", False), ("yes", True), ("true", True)],
)
def test_words_for_true_and_false(override, value):
    assert settings_of(f"training.decay_all={override}").training.decay_all is value


def test_numbers_and_texts_have_the_type_of_their_setting():
    settings = settings_of("training.batch_size=8", "name=3", "network.spacing=[3,1,1]", "network=unet_3d")
    assert settings.training.batch_size == 8
    assert settings.name == "3"
    assert settings.network.spacing == [3.0, 1.0, 1.0]
    assert all(isinstance(mm, float) for mm in settings.network.spacing)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.decay_all=never", "training.decay_all must be true or false, got 'never'"),
        ("training.batch_size=many", "training.batch_size must be a whole number, 1 or more, got 'many'"),
        ("training.batch_size=0", "training.batch_size must be a whole number, 1 or more, got 0"),
        ("training.batch_size=2.5", "training.batch_size must be a whole number, 1 or more, got '2.5'"),
        ("training.ema_decay=2", "training.ema_decay must be a number, 0 to 1, or null, got 2.0"),
        ("training.clip_norm=.nan", "training.clip_norm must be a number, 0 or more, or null, got '.nan'"),
        ("training.schedule=step", "training.schedule must be one of poly, cosine, steps, got 'step'"),
        ("network.inferer.roi_size=[96,96]", "network.inferer.roi_size must be three whole numbers above 0"),
        ("network.spacing=[1,1]", "network.spacing must be three numbers of millimeters above 0, or null"),
        ("display_window=[5,5]", "display_window must be two increasing numbers"),
        ("training.optimizer.lr=fast", "training.optimizer.lr must be a number, 0 or more, got 'fast'"),
        ("training.devices=0", "training.devices must be a whole number, 1 or more, or auto, got 0"),
        ("training.bach_size=8", "training.bach_size: unknown setting; did you mean training.batch_size"),
        ("sede=1", "sede: unknown setting; did you mean seed"),
        ("network=unet3d", "network=unet3d: unknown choice; did you mean unet_3d"),
        ("upsampler=resfoo", "upsampler=resfoo: unknown choice; did you mean resfu"),
        ("label_set=synapse", "synapse"),
    ],
)
def test_an_invalid_setting(override, message):
    with pytest.raises(InputError) as raised:
        settings_of("network=unet_3d", override) if "network." in override else settings_of(override)
    assert message in str(raised.value)
    assert "resolving" not in str(raised.value)


@pytest.mark.parametrize("override", ["data.root=~/x", "data.root='~/x'", "data.root=~", "data.root=~/a b/c.json"])
def test_a_home_folder_needs_no_quotes(override):
    assert compose([override]).data.root == override.partition("=")[2].strip("'")


def test_a_home_folder_inside_other_values():
    """With an interpolation, and in the entries of a list of cases."""
    assert settings_of("output=~/runs/${network.name}-${seed}").output == "~/runs/transunet-0"
    cases = "data.cases=[{name: a, image: ~/a.nii.gz, label: ~/b.nii.gz}]"
    chosen = ["data=list", cases, "data.source_labels=btcv13", "data.split.train=[a]"]
    assert compose(chosen).data.cases == [{"name": "a", "image": "~/a.nii.gz", "label": "~/b.nii.gz"}]


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ([], "data.root"),
        (["data=folders"], "data.root, data.source_labels"),
        (["data=list"], "data.cases, data.split.train, data.source_labels"),
    ],
)
def test_missing_settings_are_named_before_anything_is_opened(overrides, names):
    with pytest.raises(InputError, match=rf"missing settings .*: {names}; set each"):
        compose(overrides)
    assert compose(overrides, complete=False).seed == 0


@pytest.mark.parametrize("override", ["training=5", "data=null"])
def test_a_group_needs_a_name(override):
    with pytest.raises(InputError, match="invalid setting"):
        settings_of(override)


def test_what_a_network_implies_is_reported():
    """A 3-D network brings its recipe and its own upsampling along, unless they are chosen."""
    messages = []
    compose(["data.root=x", "network=unet_3d"], messages.append)
    assert messages == [
        "network=unet_3d selects upsampler=native and training=volumes; add your own choice to override that"
    ]
    messages.clear()
    compose(["data.root=x", "network=unet_3d", "upsampler=resfu", "training=volumes"], messages.append)
    assert messages == []


def test_print_shows_every_setting_with_its_meaning(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert medups("train", "--print", "data.root=~/x", "seed=7", "network=transunet_tiny") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list(walk(Settings)))
    assert "seed=7  # random seed of initial weights, samples and dropout (a whole number, 0 or more)" in lines
    assert any(line.startswith('network.name="transunet_tiny"  # ') for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_what_print_shows_can_be_given_back():
    """The printed values are the settings: composed again from them, nothing changes."""
    settings = settings_of("network=transunet_tiny", "training=quick", "seed=7")
    scalars = [
        line.partition("  # ")[0]
        for line in setting_lines(settings)
        if not line.partition("=")[2].startswith(("{", "[{"))
    ]
    chosen = ["network=transunet_tiny", "training=quick"]
    assert compose([*chosen, *scalars]) == settings


def test_every_setting_has_a_meaning():
    for name, item, _, _ in walk(Settings):
        text = item.metadata["info"].text
        assert len(text.split()) >= 2, name


def test_choices_are_those_of_the_code():
    """The schema lists them so that settings can be checked without torch."""
    choices = {name: item.metadata["info"].choices for name, item, _, _ in walk(Settings)}
    assert set(choices["data.format"]) == set(FORMATS)
    assert set(choices["weights.layout"]) == set(LAYOUTS) - set(list_upsamplers())
