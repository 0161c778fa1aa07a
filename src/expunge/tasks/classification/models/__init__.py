"""Built-in image classifiers: each is a function ``(classes, channels=3, **options) -> nn.Module``."""

from expunge.tasks.classification.models.resnet import resnet8, resnet18, resnet20
from expunge.tasks.classification.models.small_cnn import small_cnn
from expunge.tasks.classification.models.vgg import vgg16_bn

__all__ = ["resnet8", "resnet18", "resnet20", "small_cnn", "vgg16_bn"]
