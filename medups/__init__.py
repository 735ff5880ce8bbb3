"""Medical image segmentation whose decoder upsampling is a part you can swap."""

__version__ = "0.1.0"
