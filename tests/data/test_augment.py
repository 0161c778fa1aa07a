import pytest
import torch
from torch.nn.functional import pad

from expunge.data import crop_flip
from expunge.errors import DataError


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_every_result_is_a_crop_of_the_padded_image_or_of_its_mirror():
    images = torch.rand(60, 2, 5, 7, generator=seeded(1)) + 1
    augmented = crop_flip(images, seeded(0))
    places = set()
    for image, result in zip(images, augmented, strict=True):
        padded = pad(image, (4, 4, 4, 4))
        found = [
            (top, left, mirrored)
            for top in range(9)
            for left in range(9)
            for mirrored in (False, True)
            for crop in [padded[:, top : top + 5, left : left + 7]]
            if torch.equal(result, crop.flip(-1) if mirrored else crop)
        ]
        assert found, "not a crop of this image"
        places.add(found[0])
    assert {top for top, _, _ in places} == {left for _, left, _ in places} == set(range(9))
    assert 0.3 < sum(mirrored for *_, mirrored in places) / len(places) < 0.7


def test_it_is_a_pure_function_of_images_and_generator():
    images = torch.rand(8, 3, 6, 6)
    before = images.clone()
    first, second, other = (crop_flip(images, seeded(seed)) for seed in (3, 3, 4))
    assert first.equal(second)
    assert not first.equal(other)
    assert images.equal(before)
    assert first.is_contiguous()


@pytest.mark.parametrize("inputs", [torch.rand(4, 8), {"pixels": torch.rand(2, 3, 8, 8)}])
def test_what_is_not_images_is_refused(inputs):
    with pytest.raises(DataError, match="crop and flip"):
        crop_flip(inputs, seeded(0))
