"""Properties of upsamplers beyond their published numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from medups.upsamplers import FreqFusion, Interpolate, ReSFU, create_upsampler, list_upsamplers


def test_imports_only_torch():
    code = (
        "import sys, medups.upsamplers; optional = 'monai hydra nibabel scipy triton SimpleITK matplotlib'.split(); "
        "print([name for name in optional if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(("dims", "axis"), [(2, 2), (2, 3), (3, 2), (3, 4)])
def test_resfu_flips_with_its_inputs(dims, axis):
    torch.manual_seed(0)
    up = ReSFU(dims, 4, 6, subsample=1).double()  # subsampling keeps the first pixel, which a flip moves
    x, guide = torch.randn(1, 4, *[3] * dims).double(), torch.randn(1, 6, *[7] * dims).double()
    with torch.no_grad():
        for block in (up.semantic, up.detail):
            torch.nn.init.normal_(block.logits.weight, std=0.3)
    out = up(x, guide).x
    with torch.no_grad():  # spatial kernels flipped, and the tap logits with them
        for block in (up.semantic, up.detail):
            block.weight.copy_(block.weight.flip(axis))
            for parameter in (block.logits.weight, block.logits.bias):
                parameter.copy_(parameter.unflatten(0, [3] * dims).flip(axis - 2).flatten(0, dims - 1))
    torch.testing.assert_close(up(x.flip(axis), guide.flip(axis)).x.flip(axis), out)


SLICEWISE = {
    "resfu": {},
    "resfu-coarse": {"neighbors": "coarse"},
    "resfu-dot": {"similarity": "dot", "detail_alignment": False},
    "freqfusion": {"lowpass_kernel": 3, "offset_generator": False, "border": "replicate", "compressed_channels": 8},
    "sapa": {"kernel_size": 3, "embed_channels": 8},
    "carafe": {"kernel_size": 3, "compressed_channels": 8},
    "fade": {"kernel_size": 3, "embed_channels": 8},
    "linear": {},
    "cubic": {},
}


@pytest.mark.parametrize(("name", "options"), SLICEWISE.items(), ids=SLICEWISE)
def test_a_volume_constant_along_an_axis_is_upsampled_slice_by_slice(name, options):
    """With kernels that sum to the 2-D ones along the axis, and repeated tap logits, every slice has the 2-D result.

    Slices near the ends of the axis are excluded because some methods read zeros there.
    """
    torch.manual_seed(0)
    method, depth = name.partition("-")[0], 9
    common = {"in_channels": 4, "guide_channels": 4}
    flat = create_upsampler(method, spatial_dims=2, scale_factor=2, **common, **options).double()
    deep = create_upsampler(method, spatial_dims=3, scale_factor=(1, 2, 2), **common, **options).double()
    for parameter in flat.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    deep.load_state_dict(
        {key: _inflate(flat.state_dict()[key], value.shape) for key, value in deep.state_dict().items()}
    )
    x, guide = torch.randn(1, 4, 4, 5).double(), torch.randn(1, 4, 8, 10).double()
    expected = flat(x, guide)
    result = deep(*(v[:, :, None].expand(-1, -1, depth, -1, -1) for v in (x, guide)))
    for volume, slice_ in zip(result, expected, strict=True):
        inside = volume[:, :, 3:-3]
        torch.testing.assert_close(inside, slice_[:, :, None].expand_as(inside))


def _inflate(flat, shape):
    """Expand a parameter of the 2-D module to the shape of the 3-D one."""
    if len(shape) == 5:
        share = torch.tensor([0.2, 0.5, 0.3] if shape[2] == 3 else [1.0]).double()
        flat = flat[:, :, None] * share.reshape(1, 1, -1, 1, 1)
    return flat.repeat(shape[0] // flat.shape[0], *[1] * (flat.ndim - 1))


def test_resfu_weights_sum_to_one_and_stay_inside():
    up = ReSFU(2, 4, 6)
    weights = up.logits(torch.randn(1, 4, 3, 3), torch.randn(1, 6, 9, 9)).softmax(1)
    torch.testing.assert_close(weights.sum(1), torch.ones(1, 9, 9))
    corner = weights[0, :, 0, 0].reshape(3, 3)
    assert corner[0].abs().max() == 0
    assert corner[:, 0].abs().max() == 0


def test_interpolate_matches_torch():
    x = torch.randn(2, 3, 4, 5)
    aligned = create_upsampler("linear_aligned", spatial_dims=2, in_channels=3)
    torch.testing.assert_close(aligned(x).x, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
    torch.testing.assert_close(Interpolate(2, 3)(x).x, F.interpolate(x, scale_factor=2, mode="bilinear"))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: create_upsampler("resfuu", spatial_dims=2, in_channels=4), ValueError, "Did you mean 'resfu'"),
        (lambda: create_upsampler("linear", spatial_dims=4, in_channels=4), ValueError, "spatial_dims must be 2 or 3"),
        (lambda: ReSFU(2, 4), ValueError, "guide_channels must be at least 1"),
        (lambda: ReSFU(2, 4, 4, kernel_size=4), ValueError, "kernel_size must be odd"),
        (lambda: ReSFU(2, 4, 4, embed_channels=20), ValueError, "embed_channels must be a multiple"),
        (lambda: ReSFU(2, 4, 4, 0.5), ValueError, "scale_factor must be at least 1"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 3, 3)), ValueError, "guide is missing"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 3, 3), torch.zeros(2, 4, 6, 6)), ValueError, "guide must be"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 3, 3), torch.zeros(1, 5, 6, 6)), ValueError, "guide must be"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 6, 6)), ValueError, "smaller than x"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 3, 3), torch.zeros(1, 4, 6, 6).double()), TypeError, "must match"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 3, 3, dtype=torch.int64)), TypeError, "floating-point"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 3, 3, 3), torch.zeros(1, 4, 6, 6)), ValueError, "x must be"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", list_upsamplers())
def test_frozen_encoder(name, dims):
    """Maps in channels_last that need no gradient give the parameters the gradients of contiguous maps."""
    torch.manual_seed(0)
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[dims]
    upsampler = create_upsampler(name, spatial_dims=dims, in_channels=16, guide_channels=16)
    x, guide = torch.randn(2, 16, *[4] * dims), torch.randn(2, 16, *[8] * dims)
    gradients = []
    for change in (lambda value: value, lambda value: value.contiguous(memory_format=layout)):
        upsampler.zero_grad()
        out = upsampler(change(x), change(guide))
        if not list(upsampler.parameters()):
            return
        change(out.x.square()).sum().backward()
        gradients.append([p.grad.clone() for p in upsampler.parameters() if p.grad is not None])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-4)


def test_offsets_from_similarities_alone():
    """As in the published SegNeXt, written out: offsets from the cosines of 8 neighbors at a distance of 2 pixels."""
    torch.manual_seed(0)
    up = FreqFusion(2, 8, 8, 2, compressed_channels=8, offset_features="similarity", offset_groups=1).double()
    generator = up.offsets
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    deep, fine = torch.randn(1, 8, 3, 4, dtype=torch.float64), torch.randn(1, 8, 6, 8, dtype=torch.float64)

    def cosines(x):
        padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
        height, width = x.shape[2:]
        found = []
        for dy, dx in ((-2, -2), (-2, 0), (-2, 2), (0, -2), (0, 2), (2, -2), (2, 0), (2, 2)):
            other = padded[:, :, 2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]
            found.append(torch.nn.functional.cosine_similarity(x, other, dim=1, eps=1e-8))
        return torch.stack(found, 1)

    low, high = generator.norm(deep), generator.norm_guide(fine)
    shuffle = torch.nn.functional.pixel_shuffle
    offset = shuffle(generator.offset(cosines(low)), 2) + generator.offset_guide(cosines(high))
    scope = shuffle(generator.scope(low), 2) + generator.scope_guide(high)
    torch.testing.assert_close(generator.field(deep, fine, (6, 8)), offset * torch.sigmoid(scope))
